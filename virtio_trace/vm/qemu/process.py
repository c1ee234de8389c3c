# SPDX-License-Identifier: GPL-2.0-or-later
"""QEMU: its command line, and one run of it.

The first serial port is the console, the second carries the recording. Each is connected to a
socket of ours, so nothing is lost when we are slow: QEMU then makes the guest wait. Neither needs a
virtio driver; arch.py says how each machine gets them. QEMU's monitor is on a third socket, next to
any that the user adds.
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
from virtio_trace.kernel.files.machine import X86_64, Machine
from virtio_trace.vm.arch import channel_options
from virtio_trace.vm.host.children import Child
from virtio_trace.vm.host.programs import find, is_text
from virtio_trace.vm.qemu.qmp import Monitor

# An empty romfile= avoids the firmware's network boot, which takes seconds. null-co: a disk of
# zeros without a file. Fixed addresses make recordings of different boots comparable.
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
"""The default devices, which a user's QEMU OPTIONS replace."""

OURS = ("-kernel", "-initrd", "-append", "-daemonize", "-nographic", "-S")
"""Options that only we may give: with another value nothing would be recorded."""

MEMORY = 1536
"""The least memory of a guest, in MiB."""

# panic=-1: with -no-reboot, a crash ends the guest at once. ignore_loglevel: the console's last
# lines are all that remains of a guest that died.
_APPEND = "console={console} panic=-1 rdinit=/init ignore_loglevel"


def check_options(options: Sequence[str]) -> None:
    """Raises UsageError for a QEMU option that only we may give."""
    for option in options:
        plain = option.replace("--", "-", 1)
        if plain in OURS:
            raise UsageError(
                f"the QEMU option {option} is set by virtio-trace",
                "use --kernel, --modules, --append and --keep-console",
            )


def memory_for(initrd: int) -> int:
    """MiB of memory for a guest whose root is an archive of INITRD bytes.

    The kernel keeps the archive in memory while it unpacks it, and the root, a tmpfs, may fill half
    of the remaining memory. The rest is for the kernel and the programs.
    """
    return max(MEMORY, 3 * (initrd >> 20) + 320)


def room(arch: Machine = X86_64) -> int:
    """Bytes left on the kernel's command line after what is always on it."""
    return arch.command_line - len(_always(arch)) - 1


def _always(arch: Machine) -> str:
    return f"{_APPEND.format(console=arch.console)} {arch.parameters}".rstrip()


def cmdline(append: str, arch: Machine = X86_64, first: str | None = None) -> str:
    """The kernel's command line.

    Raises UsageError if it is too long, or is not one line of UTF-8.
    """
    always = _always(arch) if first is None else first
    text = f"{always} {append}".strip()
    if "\n" in text or not is_text(text):
        raise UsageError("--append has a newline or a zero byte, or is not UTF-8", "give one line")
    size, most = len(text.encode()), arch.command_line
    if size > most:
        raise UsageError(
            f"the kernel's command line has {size} bytes; it takes {most}",
            f"make --append {size - most} bytes shorter",
        )
    return text


@dataclass(frozen=True, slots=True)
class QemuConfig:
    """What QEMU runs. Empty ``options``: the default devices. ``memory`` is in MiB. ``first`` comes
    before ``append`` on the kernel's command line; None: what our own guests need."""

    vmlinuz: Path
    append: str
    accel: str
    options: tuple[str, ...] = ()
    memory: int = MEMORY
    arch: Machine = X86_64
    first: str | None = None

    @property
    def cmdline(self) -> str:
        """The kernel's command line. Raises UsageError."""
        return cmdline(self.append, self.arch, self.first)

    def argv(self, initrd: str, console: int, events: int, monitor: int) -> list[str]:
        """QEMU's command line. INITRD is a path, the others are descriptors of sockets."""
        # Under TCG with several threads some kernels die.
        cpu = self.arch.cpu if self.accel == "tcg" else "host"
        accel = "tcg,thread=single" if self.accel == "tcg" else self.accel
        return [
            *(find(self.arch.program), *self.arch.board, "-accel", accel, "-cpu", cpu),
            *("-m", str(self.memory), "-smp", "1"),
            *("-nodefaults", "-no-user-config", "-no-reboot", "-display", "none"),
            *("-chardev", f"socket,id=console,fd={console}", "-serial", "chardev:console"),
            *(
                "-chardev",
                f"socket,id=events,fd={events}",
                *channel_options(self.arch, self.options),
            ),
            *("-chardev", f"socket,id=vt-monitor,fd={monitor}"),
            *("-mon", "chardev=vt-monitor,mode=control"),
            *("-kernel", str(self.vmlinuz), "-initrd", initrd, "-append", self.cmdline),
            *(self.options or DEVICES),
        ]


class Run:
    """One QEMU, from start to end. ``with`` ends it however the block is left.

    Raises CannotTraceError when QEMU cannot be started.
    """

    def __init__(self, machine: QemuConfig, initrd: int) -> None:
        ours, theirs = zip(*(socket.socketpair() for _ in range(3)), strict=True)
        self._sockets: dict[str, socket.socket] = dict(
            zip(("console", "events"), ours[:2], strict=True)
        )
        self.monitor = Monitor(ours[2])
        fds = [end.fileno() for end in theirs]
        self.argv = machine.argv(f"/dev/fd/{initrd}", *fds)
        # setpriv: the kernel kills QEMU when we die, even by SIGKILL.
        command = [find("setpriv"), "--pdeathsig", "KILL", "--", *self.argv]
        try:
            self._child = Child(
                command,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                pass_fds=[*fds, initrd],
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

    def wait(self, seconds: float = 10.0) -> None:
        """Waits for a QEMU that has closed everything, up to SECONDS: it may be dumping core."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._child.wait(seconds)

    def stop(self) -> None:
        """Ends QEMU if it runs. It is killed: it has nothing to save."""
        self._child.end(term_seconds=0)

    def tell(self, data: bytes) -> None:
        """Sends a few bytes to the guest over the recording's port. Does nothing if it died."""
        with contextlib.suppress(OSError):
            self._sockets["events"].sendall(data)

    def release(self) -> None:
        """Lets the guest switch itself off: it waits for a line until we have queried QEMU."""
        self.tell(b"\n")

    def read(self, deadline: float) -> Iterator[tuple[str, bytes]]:
        """Yields (``console`` | ``events`` | ``stderr``, bytes) as they come.

        Ends when QEMU has closed all three, or at DEADLINE (of time.monotonic()). ``("", b"")``
        comes at least five times a second, so that the caller can check the time.
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
        return b""  # QEMU died with bytes of ours unread
