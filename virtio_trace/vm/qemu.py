# SPDX-License-Identifier: GPL-2.0-or-later
"""QEMU: its command line, and one run of it.

Two serial ports: the first is the console, the second carries the recording. Both end in sockets of
ours, so nothing is lost when we are slow: QEMU then makes the guest wait. Neither needs a virtio
driver or a place on the PCI bus. QEMU's monitor is on a third socket, beside any that a user has.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from virtio_trace.errors import BadInputError, CannotTraceError, UsageError
from virtio_trace.vm.qmp import Monitor
from virtio_trace.vm.tools import find

PROGRAM = "qemu-system-x86_64"
MACHINE = "x86_64"

# romfile=: without it the firmware's network boot costs seconds. null-co: a disk of zeros without a
# file. Fixed addresses, so that recordings of different boots can be compared.
DEVICES = (
    "-netdev",
    "user,id=net0",
    "-device",
    "virtio-net-pci,netdev=net0,romfile=,addr=02.0",
    "-blockdev",
    "null-co,node-name=disk0,size=67108864,read-zeroes=on",
    "-device",
    "virtio-blk-pci,drive=disk0,addr=03.0",
    "-device",
    "virtio-rng-pci,addr=04.0",
)
"""The default devices, for which a user's QEMU OPTIONS are put."""

OURS = ("-kernel", "-initrd", "-append", "-daemonize", "-nographic", "-S")
"""Options that only we give: with another one nothing would be recorded."""

CMDLINE_MAX = 2047
"""Characters of a kernel command line that x86 takes; with one more it dies without a word."""

MEMORY = 1536
"""The least that a guest gets, in MiB."""

# panic=-1: a crash ends the guest at once (-no-reboot). A lot of log is worth more than a quiet
# console: its last lines are what a guest that died leaves behind.
_APPEND = "console=ttyS0 panic=-1 rdinit=/init ignore_loglevel"

# 6.12 and later die at random under TCG of QEMU 7.2, whose cmpxchg16b leaves garbage in EFLAGS;
# without cx16 they do not use it. Some kernels also die when its threads run side by side.
_ACCEL = {
    "kvm": ("-accel", "kvm", "-cpu", "host"),
    "tcg": ("-accel", "tcg,thread=single", "-cpu", "max,-cx16"),
}


def check_options(options: Sequence[str]) -> None:
    """Raises UsageError for a QEMU option that only we can give."""
    for option in options:
        plain = option.replace("--", "-", 1)
        if plain in OURS:
            raise UsageError(
                f"the QEMU option {option} is ours to give",
                "use --kernel, --modules, --append and --keep-console",
            )


def memory_for(initrd: int) -> int:
    """MiB for a guest whose root is an archive of INITRD bytes.

    The kernel has the archive in memory while it unpacks it, and the root (a tmpfs) may fill half
    of what is left then; the rest is for the kernel and for what runs.
    """
    return max(MEMORY, 3 * (initrd >> 20) + 320)


def check_kernel(vmlinuz: Path) -> None:
    """Raises BadInputError where VMLINUZ is no x86 bzImage (Documentation/arch/x86/boot.rst)."""
    try:
        with vmlinuz.open("rb") as file:
            head = file.read(0x206)
    except OSError as error:
        raise BadInputError(f"{vmlinuz}: {error.strerror}", "name a readable vmlinuz") from error
    if head[0x1FE:0x200] != b"\x55\xaa" or head[0x202:0x206] != b"HdrS":
        raise BadInputError(
            f"{vmlinuz} is not an x86 kernel image (bzImage)", "give the vmlinuz of a package"
        )


def cmdline(append: str) -> str:
    """The kernel's command line. Raises UsageError where it is too long or holds a line's end."""
    text = f"{_APPEND} {append}".rstrip()
    if "\n" in text or "\0" in text:
        raise UsageError("--append holds the end of a line", "give one line")
    if len(text.encode()) > CMDLINE_MAX:
        raise UsageError(
            f"the kernel's command line has {len(text.encode())} bytes; it takes {CMDLINE_MAX}",
            f"shorten --append to {CMDLINE_MAX - len(_APPEND) - 1} bytes",
        )
    return text


@dataclass(frozen=True, slots=True)
class Machine:
    """What QEMU is to run. ``options`` empty: the default devices; ``memory`` is in MiB."""

    vmlinuz: Path
    append: str
    accel: str
    options: tuple[str, ...] = ()
    memory: int = MEMORY

    def argv(self, initrd: str, console: int, events: int, monitor: int) -> list[str]:
        """QEMU's command line; INITRD is a path, the others are sockets' descriptors."""
        return [
            *(find(PROGRAM), *_ACCEL[self.accel], "-m", str(self.memory), "-smp", "1"),
            *("-nodefaults", "-no-user-config", "-no-reboot", "-display", "none"),
            *("-chardev", f"socket,id=console,fd={console}", "-serial", "chardev:console"),
            *("-chardev", f"socket,id=events,fd={events}", "-serial", "chardev:events"),
            *("-chardev", f"socket,id=monitor,fd={monitor}"),
            *("-mon", "chardev=monitor,mode=control"),
            *("-kernel", str(self.vmlinuz), "-initrd", initrd, "-append", cmdline(self.append)),
            *(self.options or DEVICES),
        ]


class Run:
    """One QEMU, from its start to its end. ``with`` ends it in every case.

    Raises CannotTraceError when it cannot be started.
    """

    def __init__(self, machine: Machine, initrd: int) -> None:
        ours, theirs = zip(*(socket.socketpair() for _ in range(3)), strict=True)
        self._sockets: dict[str, socket.socket] = dict(
            zip(("console", "events"), ours[:2], strict=True)
        )
        self.monitor = Monitor(ours[2])
        fds = [end.fileno() for end in theirs]
        self.argv = machine.argv(f"/dev/fd/{initrd}", *fds)
        # setpriv: the kernel kills QEMU when we die, of SIGKILL too. A group of its own: Ctrl-C at
        # the terminal is for us, and we end QEMU.
        command = [find("setpriv"), "--pdeathsig", "KILL", "--", *self.argv]
        try:
            self._child = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                pass_fds=[*fds, initrd],
                process_group=0,
            )
        except OSError as error:
            self._close()
            raise CannotTraceError(f"cannot start QEMU: {error.strerror}") from error
        finally:
            for end in theirs:
                end.close()

    def __enter__(self) -> Run:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()
        self._close()

    @property
    def status(self) -> int | None:
        """QEMU's exit status; None while it runs."""
        return self._child.poll()

    def stop(self) -> None:
        """Ends QEMU if it runs, by the process that was started."""
        if self._child.poll() is None:
            self._child.kill()
        self._child.wait()

    def release(self) -> None:
        """Lets the guest switch itself off: it waits for a line until QEMU has been asked."""
        with contextlib.suppress(OSError):  # it may have died
            self._sockets["events"].sendall(b"\n")

    def read(self, deadline: float) -> Iterator[tuple[str, bytes]]:
        """What comes, as it comes: (``console`` | ``events`` | ``stderr``, bytes).

        Ends when QEMU has closed all three, or at DEADLINE (of time.monotonic()). An empty
        ``("", b"")`` comes at least five times a second, so that the caller can look at the clock.
        """
        with selectors.DefaultSelector() as selector:
            for name, end in self._sockets.items():
                selector.register(end, selectors.EVENT_READ, name)
            if self._child.stderr:
                selector.register(self._child.stderr, selectors.EVENT_READ, "stderr")
            while selector.get_map() and (left := deadline - time.monotonic()) > 0:
                for key, _ in selector.select(min(left, 0.2)):
                    data = os.read(key.fd, 1 << 16) if key.data == "stderr" else _receive(key.fd)
                    if data:
                        yield key.data, data
                    else:
                        selector.unregister(key.fileobj)
                yield "", b""

    def _close(self) -> None:
        for end in self._sockets.values():
            end.close()
        self.monitor.close()
        child = getattr(self, "_child", None)
        if child is not None and child.stderr:
            child.stderr.close()


def _receive(handle: int) -> bytes:
    try:
        return os.read(handle, 1 << 16)
    except ConnectionResetError:
        return b""  # QEMU died with bytes of ours unread; there are none, but the kernel says so
