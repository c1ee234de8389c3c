# SPDX-License-Identifier: GPL-2.0-or-later
"""QEMU: its command line, and one run of it.

Two serial ports: the first is the console, the second carries the recording. Both end in sockets of
ours, so nothing is lost when we are slow: QEMU then makes the guest wait. Neither needs a virtio
driver; how each machine gets them is in arch.py. QEMU's monitor is on a third socket, beside any
that a user has.
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

from virtio_trace.errors import CannotTraceError, UsageError
from virtio_trace.vm.arch import X86_64, Arch
from virtio_trace.vm.host.programs import find
from virtio_trace.vm.qemu.qmp import Monitor

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
"""Characters of a kernel command line that x86 and arm64 take (COMMAND_LINE_SIZE, with its end);
with one more x86 dies without a word, arm64 cuts it."""

MEMORY = 1536
"""The least that a guest gets, in MiB."""

# panic=-1: a crash ends the guest at once (-no-reboot). A lot of log is worth more than a quiet
# console: its last lines are what a guest that died leaves behind.
_APPEND = "console={console} panic=-1 rdinit=/init ignore_loglevel"


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


def room(arch: Arch = X86_64) -> int:
    """Bytes that are left on the kernel's command line behind what is always on it."""
    return CMDLINE_MAX - len(_always(arch)) - 1


def _always(arch: Arch) -> str:
    return f"{_APPEND.format(console=arch.console)} {arch.parameters}".rstrip()


def cmdline(append: str, arch: Arch = X86_64, first: str | None = None) -> str:
    """The kernel's command line. Raises UsageError where it is too long or holds a line's end."""
    always = _always(arch) if first is None else first
    text = f"{always} {append}".strip()
    if "\n" in text or "\0" in text:
        raise UsageError("--append holds the end of a line", "give one line")
    if len(text.encode()) > CMDLINE_MAX:
        raise UsageError(
            f"the kernel's command line has {len(text.encode())} bytes; it takes {CMDLINE_MAX}",
            f"make --append {len(text.encode()) - CMDLINE_MAX} bytes shorter",
        )
    return text


@dataclass(frozen=True, slots=True)
class QemuConfig:
    """What QEMU is to run. ``options`` empty: the default devices; ``memory`` is in MiB. ``first``
    is what stands before ``append`` on the kernel's command line."""

    vmlinuz: Path
    append: str
    accel: str
    options: tuple[str, ...] = ()
    memory: int = MEMORY
    arch: Arch = X86_64
    first: str | None = None

    @property
    def cmdline(self) -> str:
        """The kernel's command line. Raises UsageError."""
        return cmdline(self.append, self.arch, self.first)

    def argv(self, initrd: str, console: int, events: int, monitor: int) -> list[str]:
        """QEMU's command line; INITRD is a path, the others are sockets' descriptors."""
        # Some kernels die under TCG when its threads run side by side.
        cpu = self.arch.cpu if self.accel == "tcg" else "host"
        accel = "tcg,thread=single" if self.accel == "tcg" else self.accel
        return [
            *(find(self.arch.program), *self.arch.board, "-accel", accel, "-cpu", cpu),
            *("-m", str(self.memory), "-smp", "1"),
            *("-nodefaults", "-no-user-config", "-no-reboot", "-display", "none"),
            *("-chardev", f"socket,id=console,fd={console}", "-serial", "chardev:console"),
            *("-chardev", f"socket,id=events,fd={events}", *self.arch.options(self.options)),
            *("-chardev", f"socket,id=vt-monitor,fd={monitor}"),
            *("-mon", "chardev=vt-monitor,mode=control"),
            *("-kernel", str(self.vmlinuz), "-initrd", initrd, "-append", self.cmdline),
            *(self.options or DEVICES),
        ]


class Run:
    """One QEMU, from its start to its end. ``with`` ends it in every case.

    Raises CannotTraceError when it cannot be started.
    """

    def __init__(self, machine: QemuConfig, initrd: int) -> None:
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

    def tell(self, data: bytes) -> None:
        """Sends a few bytes to the guest, against the recording's stream; for nobody if it died."""
        with contextlib.suppress(OSError):
            self._sockets["events"].sendall(data)

    def release(self) -> None:
        """Lets the guest switch itself off: it waits for a line until QEMU has been asked."""
        self.tell(b"\n")

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
