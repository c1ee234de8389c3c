# SPDX-License-Identifier: GPL-2.0-or-later
"""Debian systems to log in to: systemd, udev, sudo, a serial console, tmux. Nothing of ours.

As in Debian's own cloud images, the user has no password for sudo, the language is C.UTF-8, and
systemd-networkd asks for an address. The file system is the whole disk; it has no boot loader, so
QEMU is given the kernel and the initrd that the system itself has in /boot.

    python -m tests.vm.live_images [SUITE ...]

builds them and prints their paths.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from tests.vm import images

SUITES = ("bookworm", "trixie")
USER, PASSWORD = "ada", "lovelace"
_HASH = (  # openssl passwd -6 -salt trace lovelace
    "$6$trace$3HHoQMBiq42mraznRbQkZlDFIwUZ1TcTQqstdjsgEDqRweWUyWgkrXhUyTaTfHWJfsvmkTfWUGXjoc/87ha4h/"
)

BARE = (
    *("systemd-sysv", "udev", "dbus", "libpam-systemd", "kmod", "initramfs-tools", "zstd"),
    *("linux-image-cloud-amd64", "login", "passwd", "sudo", "iproute2", "netbase"),
    *("systemd-resolved", "ca-certificates", "bash-completion", "man-db", "less", "tmux"),
)
NEEDED = ("libbpf1", "python3-click", "python3-pyelftools", "python3-tabulate")
"""What our package depends on: dpkg fetches nothing."""

_FILES = {
    "etc/hostname": "guest\n",
    "etc/hosts": "127.0.0.1 localhost\n127.0.1.1 guest\n",
    "etc/machine-id": "",  # not "uninitialized": systemd-firstboot would ask questions
    "etc/default/locale": "LANG=C.UTF-8\n",
    "etc/fstab": f"UUID={images.UUID} / ext4 defaults 0 1\n",
    "etc/sudoers.d/cloud": f"{USER} ALL=(ALL) NOPASSWD:ALL\n",
    "etc/systemd/network/80-dhcp.network": "[Match]\nType=ether\n[Network]\nDHCP=ipv4\n",
}
_SETUP = f"""
useradd --prefix "$PWD" --create-home --shell /bin/bash --password '{_HASH}' {USER}
chmod 440 etc/sudoers.d/cloud
systemctl --root . enable systemd-networkd.service systemd-resolved.service
systemctl --root . mask apt-daily.timer apt-daily-upgrade.timer man-db.timer
"""


def image(suite: str, packages: tuple[str, ...] = NEEDED, size: int = 1600) -> Path:
    """A raw disk of SIZE MiB with SUITE, BARE and PACKAGES. It must not be written."""
    every = (*BARE, *packages)
    what = [1, suite, every]
    name = f"live-{suite}{'' if packages else '-bare'}"
    tar = images.kept(
        f"{name}-root", "tar.zst", what, lambda folder: images.debootstrap(suite, every, folder)
    )
    return images.kept(
        *(name, "raw", [*what, _FILES, _SETUP, size]),
        lambda scratch: images.file_system(tar, _FILES, _SETUP, size, scratch),
    )


def kernel(disk: Path, folder: Path) -> tuple[Path, Path]:
    """The kernel and the initrd of DISK, copied to FOLDER."""
    listed = _debugfs(disk, "ls -p /boot")
    found = []
    for name in ("vmlinuz", "initrd.img"):
        (full,) = set(re.findall(rf"/({re.escape(name)}-[^/]+)/", listed))
        target = folder / name
        _debugfs(disk, f"dump /boot/{full} {target}")
        assert target.stat().st_size > 1 << 20, full
        found.append(target)
    return found[0], found[1]


def _debugfs(disk: Path, request: str) -> str:
    return subprocess.run(
        ["/sbin/debugfs", "-R", request, str(disk)], check=True, capture_output=True, text=True
    ).stdout


if __name__ == "__main__":
    for _suite in sys.argv[1:] or SUITES:
        print(image(_suite))
