# SPDX-License-Identifier: GPL-2.0-or-later
"""A Debian system in QEMU, used from outside as a person does: over its serial console."""

from __future__ import annotations

import re
import socket
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from tests.vm import live_images
from tests.vm.qmp import Qmp
from virtio_trace.kernel.files.machine import X86_64

# The guest's disk is its file; what it writes is thrown away.
_DEVICES = (
    *("-netdev", "user,id=n2", "-device", "virtio-net-pci,romfile=,netdev=n2,addr=02.0"),
    *("-device", "virtio-blk-pci,drive=root,addr=03.0"),
    *("-device", "virtio-blk-pci,drive=given,addr=04.0"),
    *("-device", "virtio-rng-pci,addr=05.0"),
)
_PATIENCE = 600.0
"""Seconds for what takes some ten on an idle machine."""


@dataclass(frozen=True, slots=True)
class Done:
    """A command's output and exit status, and how many seconds it took."""

    text: str
    status: int
    seconds: float


class System:
    """A running system of the image DISK. Its second disk, vdb, has GIVEN's bytes.

    ``with`` starts QEMU under TCG and ends it. FOLDER has its console, as it goes, in console.txt.
    """

    def __init__(self, disk: Path, given: Path, folder: Path) -> None:
        vmlinuz, initrd = live_images.kernel(disk, folder)
        self._monitor, self._console = folder / "qmp", folder / "console"
        self._argv = [
            *(X86_64.program, "-accel", "tcg,thread=single", "-cpu", X86_64.cpu),
            *("-m", "1024", "-smp", "1", "-nodefaults", "-no-user-config", "-no-reboot"),
            *("-display", "none", "-qmp", f"unix:{self._monitor},server=on,wait=off"),
            *("-chardev", f"socket,id=c,path={self._console},server=on,wait=off"),
            *("-serial", "chardev:c", "-kernel", str(vmlinuz), "-initrd", str(initrd)),
            *("-append", "root=/dev/vda console=ttyS0 quiet panic=-1"),
            *("-drive", f"if=none,id=root,format=raw,snapshot=on,file={disk}"),
            *("-drive", f"if=none,id=given,format=raw,snapshot=on,file={given}"),
            *_DEVICES,
        ]
        self._log = (folder / "console.txt").open("w", encoding="utf-8")
        self._unread = ""
        self.said = ""

    def __enter__(self) -> System:
        self._begun = time.monotonic()
        self._qemu = subprocess.Popen(self._argv, stdin=subprocess.DEVNULL)
        self._serial = socket.socket(socket.AF_UNIX)
        while True:
            try:
                self._serial.connect(str(self._console))
            except OSError:
                assert self._qemu.poll() is None, "QEMU did not start"
                time.sleep(0.05)
            else:
                return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._log.close()
        self._serial.close()
        self._qemu.kill()
        self._qemu.wait()

    @property
    def age(self) -> float:
        """Seconds since QEMU was started."""
        return time.monotonic() - self._begun

    def qmp(self) -> Qmp:
        """A connection to QEMU's monitor. It takes one at a time."""
        return Qmp(self._monitor)

    def expect(self, pattern: str, seconds: float = _PATIENCE) -> re.Match[str]:
        """Read the console up to PATTERN, and forget what it said until there."""
        deadline = time.monotonic() + seconds
        while not (found := re.search(pattern, self._unread)):
            left = deadline - time.monotonic()
            assert left > 0, f"no {pattern!r} in:\n{self.said[-3000:]}"
            self._serial.settimeout(left)
            try:
                more = self._serial.recv(1 << 16).decode("utf-8", "replace")
            except TimeoutError:
                continue
            assert more, f"QEMU has ended:\n{self.said[-3000:]}"
            self._unread += more
            self.said += more
            self._log.write(more)
            self._log.flush()
        self._unread = self._unread[found.end() :]
        return found

    def type(self, line: str) -> None:
        """Type LINE and Enter."""
        self._serial.sendall(f"{line}\r".encode())

    def log_in(self) -> float:
        """Log in when asked, and wait for the prompt. Seconds from power on to the question."""
        self.expect("login: ")
        asked = self.age
        self.type(live_images.USER)
        self.expect("Password: ")
        self.type(live_images.PASSWORD)
        self.expect(r"\$ ")
        return asked

    def run(self, command: str, seconds: float = _PATIENCE) -> Done:
        """Type COMMAND, one line for the shell of the login, and wait for its end."""
        begun = time.monotonic()
        # The echo of what is typed has neither mark.
        self.type(f"echo @@$((0))@@; {command}; echo @@$?,@@")
        self.expect(r"@@0@@\r\n")
        found = self.expect(r"(?s)(.*?)@@(\d+),@@\r\n", seconds)
        taken = time.monotonic() - begun
        self.expect(r"\$ ")
        return Done(found[1].replace("\r\n", "\n"), int(found[2]), taken)

    def must(self, command: str) -> str:
        """The output of COMMAND, which must succeed."""
        done = self.run(command)
        assert done.status == 0, (command, done)
        return done.text


def tar(files: Sequence[Path], path: Path) -> None:
    """Write a tar archive of FILES, by their names, as a disk that is large enough for a guest."""
    parts = [word for file in files for word in ("-C", str(file.parent), file.name)]
    subprocess.run(["tar", "-cf", str(path), *parts], check=True)
    with path.open("r+b") as disk:
        disk.truncate(max(path.stat().st_size, 1 << 20))
