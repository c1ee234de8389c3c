# SPDX-License-Identifier: GPL-2.0-or-later
"""The ends of real consoles, with what was booted and the kernel parameters that made them.

Each was on the first serial port of QEMU 7.2, with console=ttyS0 ignore_loglevel.
"""

# Debian 12, initramfs-tools 0.142: root=UUID=00000000-1111-2222-3333-444444444444
ALERT = (
    b"[    8.109497] virtio_blk virtio1: [vda] 1642496 512-byte logical blocks (841 MB/802 M"
    b"iB)\r\n"
    b"[    8.134080]  vda: vda1\r\n"
    b"Gave up waiting for root file system device.  Common problems:\r\n"
    b" - Boot args (cat /proc/cmdline)\r\n"
    b"   - Check rootdelay= (did the system wait long enough?)\r\n"
    b" - Missing modules (cat /proc/modules; ls /dev)\r\n"
    b"ALERT!  UUID=00000000-1111-2222-3333-444444444444 does not exist.  Dropping to a shell"
    b"!\r\n"
    b"(initramfs) "
)

# Debian 13, initramfs-tools 0.148, without root=
NO_ROOT = (
    b"Begin: Loading essential drivers ... done.\r\n"
    b"Begin: Running /scripts/init-premount ... done.\r\n"
    b"Begin: Mounting root file system ... Begin: Running /scripts/local-top ... done.\r\n"
    b"Begin: Running /scripts/local-premount ... done.\r\n"
    b"No root device specified. Boot arguments must include a root= parameter.\r\n"
    b"(initramfs) "
)

# Debian 12, systemd 252: systemd.unit=emergency.target
EMERGENCY = (
    b"[   18.331702] systemd[1]: Started emergency.service - Emergency Shell.\r\n"
    b"[   18.350151] systemd[1]: Reached target emergency.target - Emergency Mode.\r\n"
    b"[   18.358548] systemd[1]: Startup finished in 11.884s (kernel) + 6.488s (userspace) ="
    b" 18.373s.\r\n"
    b"[   18.395903] (plymouth)[166]: emergency.service: Executable /bin/plymouth missing, s"
    b"kipping: No such file or directory\r\n"
    b'You are in emergency mode. After logging in, type "journalctl -xb" to view\r\n'
    b'system logs, "systemctl reboot" to reboot, "systemctl default" or "exit"\r\n'
    b"to boot into default mode.\r\n"
    b"\r\n"
    b"Cannot open access to console, the root account is locked.\r\n"
    b"See sulogin(8) man page for more details.\r\n"
    b"\r\n"
    b"Press Enter to continue.\r\n"
)

# Debian 13, systemd 257: systemd.mount-extra=/dev/disk/by-uuid/nope:/mnt:ext4
JOBS = (
    b"[\x1b[0m\x1b[0;31m*     \x1b[0m] (1 of 2) Job systemd-networkd.service/start running (11s"
    b" / 1min 39s)\r\r\n"
    b"\x1bM\r\x1b[K[\x1b[0;1;31m*\x1b[0m\x1b[0;31m*    \x1b[0m] (1 of 2) Job systemd-networkd.s"
    b"ervice/start running (13s / 1min 39s)\r\r\n"
    b"\x1bM\r\x1b[K[\x1b[0;31m*\x1b[0;1;31m*\x1b[0m\x1b[0;31m*   \x1b[0m] (1 of 2) Job systemd-"
    b"networkd.service/start running (13s / 1min 39s)\r\r\n"
    b"\x1bM\r\x1b[K[ \x1b[0;31m*\x1b[0;1;31m*\x1b[0m\x1b[0;31m*  \x1b[0m] (2 of 2) Job dev-disk"
    b"-by\\x2duuid-no\xe2\x80\xa6ice/start running (14s / 1min 30s)\r\r\n"
    b"\x1bM\r\x1b[K[  \x1b[0;31m*\x1b[0;1;31m*\x1b[0m\x1b[0;31m* \x1b[0m] (2 of 2) Job dev-disk"
    b"-by\\x2duuid-no\xe2\x80\xa6ice/start running (15s / 1min 30s)\r\r\n"
    b"\x1bM\r\x1b[K[\x1b[0;32m  OK  \x1b[0m] Started \x1b[0;1;39msystemd-networkd.service\x1b[0"
    b"m - Network Configuration.\r\r\n"
)

# The same, 90 seconds later
TIMED_OUT = (
    b"\x1bM\r\x1b[K[ \x1b[0;31m*\x1b[0;1;31m*\x1b[0m\x1b[0;31m*  \x1b[0m] (2 of 2) Job dev-disk"
    b"-by\\x2duuid-no\xe2\x80\xa6tart running (1min 29s / 1min 30s)\r\r\n"
    b"\x1bM\r\x1b[K[  \x1b[0;31m*\x1b[0;1;31m*\x1b[0m\x1b[0;31m* \x1b[0m] (1 of 2) Job systemd-"
    b"networkd-wait-\xe2\x80\xa6tart running (1min 30s / no limit)\r\r\n"
    b"\x1bM\r\x1b[K[\x1b[0;1;31m TIME \x1b[0m] Timed out waiting for device \x1b[0;1;39mdev-d"
    b"\xe2\x80\xa6pe.device\x1b[0m - /dev/disk/by-uuid/nope.\r\r\n"
    b"\x1b[K[\x1b[0;1;38:5:185mDEPEND\x1b[0m] Dependency failed for \x1b[0;1;39mmnt.mount\x1b[0"
    b"m - /mnt.\r\r\n"
    b"[\x1b[0;1;38:5:185mDEPEND\x1b[0m] Dependency failed for \x1b[0;1;39mlocal-fs.target\x1b[0"
    b"m - Local File Systems.\r\r\n"
    b"[\x1b[0;32m  OK  \x1b[0m] Started \x1b[0;1;39memergency.service\x1b[0m - Emergency Shell."
    b"\r\r\n"
    b"[\x1b[0;32m  OK  \x1b[0m] Reached target \x1b[0;1;39memergency.target\x1b[0m - Emergency "
    b"Mode.\r\r\n"
    b"         Starting \x1b[0;1;39msystemd-tmpfiles-setup.se\xe2\x80\xa6\x1b[0mate System File"
    b"s and Directories...\r\r\n"
    b"[\x1b[0;32m  OK  \x1b[0m] Finished \x1b[0;1;39msystemd-tmpfiles-setup.se\xe2\x80\xa6\x1b["
    b"0mreate System Files and Directories.\r\r\n"
    b"[\x1b[0;32m  OK  \x1b[0m] Reached target \x1b[0;1;39mfirst-boot-complete.target\x1b[0m - "
    b"First Boot Complete.\r\r\n"
    b'You are in emergency mode. After logging in, type "journalctl -xb" to view\r\n'
    b'system logs, "systemctl reboot" to reboot, or "exit"\r\n'
    b"to continue bootup.\r\n"
    b"\r\n"
    b"Cannot open access to console, the root account is locked.\r\n"
    b"See sulogin(8) man page for more details.\r\n"
    b"\r\n"
    b"Press Enter to continue.\r\n"
)

# Linux 6.1: root=/dev/vda1 rdinit=/nothing
PANIC = (
    b'[    4.755690] VFS: Cannot open root device "vda1" or unknown-block(0,0): error -6\r\n'
    b'[    4.755825] Please append a correct "root=" boot option; here are the available par'
    b"titions:\r\n"
    b"[    4.756115] Kernel panic - not syncing: VFS: Unable to mount root fs on unknown-blo"
    b"ck(0,0)\r\n"
    b"[    4.756402] CPU: 0 PID: 1 Comm: swapper/0 Not tainted 6.1.0-56-cloud-amd64 #1  Debi"
    b"an 6.1.192-2\r\n"
    b"[    4.758925] Kernel Offset: 0x36c00000 from 0xffffffff81000000 (relocation range: 0x"
    b"ffffffff80000000-0xffffffffbfffffff)\r\n"
    b"[    4.759384] ---[ end Kernel panic - not syncing: VFS: Unable to mount root fs on un"
    b"known-block(0,0) ]---\r\n"
)

# Debian 12's installer (debian-installer-12-netboot-amd64), at its first
# question; some lines of the dialog are left out
INSTALLER = (
    b"\x1b[5;3H\x1b[0m\x1b(0\x1b[30m\x1b[47mlqqqqqqqqqqqqqqqqqqqqqqqu\x1b[0m\x1b(B\x1b[30m\x1b["
    b"47m \x1b[31m[!!] Select a language\x1b[30m \x1b(0tqqqqqqqqqqqqqqqqqqqqqqqqk\x1b[13;3H\x1b"
    b"[0m\x1b(0\x1b[30m\x1b[47mx\x1b[0m\x1b(B\x1b[30m\x1b[47m                               C  "
    b"                                       \x1b(0x\x1b[0m\x1b(B\x1b[1m\x1b[37m\x1b[40m \x1b[1"
    b"4;3H\x1b[0m\x1b(0\x1b[30m\x1b[47mx\x1b[0m\x1b(B\x1b[30m\x1b[47m                          "
    b"     \x1b[37m\x1b[41mEnglish\x1b[30m\x1b[47m                                   \x1b(0x"
    b"\x1b[0m\x1b(B\x1b[1m\x1b[37m\x1b[40m \x1b[18;3H\x1b[0m\x1b(0\x1b[30m\x1b[47mmqqqqqqqqqqqq"
    b"qqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqj\x1b[0m\x1b(B\x1b[1m\x1b[37"
    b"m\x1b[40m \x1b[19;4H                                                                     "
    b"      \r\x1b[5B\x1b[44m<Tab> moves; <Space> selects; <Enter> activates buttons\x1b[14;35H"
    b"\x1b[H\x1b[0m\x1b[7m\x1b[m\x1b[32m\x1b[40m[           \x1b[37m\x1b[31m (\x1b[37m1*install"
    b"er\x1b[31m)\x1b[37m  2 shell  3 shell  4- log           \x1b[32m][\x1b[34m Nov 25 \x1b[37"
    b"m 0:06 \x1b[32m]\x1b[14;35H\x1b[0m"
)

# Debian 12, dracut 059: root=/dev/disk/by-uuid/nope rd.retry=10
DRACUT = (
    b"[   68.222586] dracut-initqueue[227]: Warning: Could not boot.\r\n"
    b"         Starting \x1b[0;1;39mdracut-emergency.\xe2\x80\xa6ce\x1b[0m - Dracut Emergency S"
    b"hell...\r\r\n"
    b"Warning: /dev/disk/by-uuid/nope does not exist\r\n"
    b"\r\n"
    b'Generating "/run/initramfs/rdsosreport.txt"\r\n'
    b"\r\n"
    b"\r\n"
    b"Entering emergency mode. Exit the shell to continue.\r\n"
    b'Type "journalctl" to view system logs.\r\n'
    b'You might want to save "/run/initramfs/rdsosreport.txt" to a USB stick or /boot\r\n'
    b"after mounting them and attach it to a bug report.\r\n"
    b"\r\n"
    b"\r\n"
    b"Press Enter for maintenance\r\n"
    b"(or press Control-D to continue): "
)

# Debian 12, dracut 059, without root=
DRACUT_NO_ROOT = (
    b"[\x1b[0;1;31mFAILED\x1b[0m] Failed to start \x1b[0;1;39minitrd-switch-root.service\x1b[0m"
    b" - Switch Root.\r\r\n"
    b"See 'systemctl status initrd-switch-root.service' for details.\r\r\n"
    b"\r\n"
    b'Generating "/run/initramfs/rdsosreport.txt"\r\n'
    b"\r\n"
    b"\r\n"
    b"Entering emergency mode. Exit the shell to continue.\r\n"
    b'Type "journalctl" to view system logs.\r\n'
    b'You might want to save "/run/initramfs/rdsosreport.txt" to a USB stick or /boot\r\n'
    b"after mounting them and attach it to a bug report.\r\n"
    b"\r\n"
    b"\r\n"
    b"Press Enter for maintenance\r\n"
    b"(or press Control-D to continue): "
)
