# SPDX-License-Identifier: GPL-2.0-or-later
"""External programs: find them, run them within limits, and turn their errors into ours.

This is the one place that runs programs; children.py has the processes.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from virtio_trace.errors import CannotTraceError
from virtio_trace.kernel.files.machine import MACHINES
from virtio_trace.vm.host.children import Child, LimitError, Limits, read

Progress = Callable[[str, float | None], None]
"""``progress(what, done)``: WHAT is under way, DONE from 0.0 to 1.0, or None if unknown.

Called whenever there is news. 1.0 comes once, at the end of each WHAT.
"""

PACKAGES = {
    "apt-get": "apt",
    "apt-cache": "apt",
    "apt-config": "apt",
    "dpkg": "dpkg",
    "dpkg-deb": "dpkg",
    "depmod": "kmod",
    "setpriv": "util-linux",
    **{machine.program: machine.package for machine in MACHINES},
    "qemu-img": "qemu-utils",
    "sfdisk": "fdisk",
    "blkid": "util-linux",
    "debugfs": "e2fsprogs",
    "mdir": "mtools",
    "mcopy": "mtools",
    "grub-fstest": "grub-common",
}
"""Program to the Debian package that has it."""

_SBIN = ("/usr/local/sbin", "/usr/sbin", "/sbin")

ROOM = 16 << 20
"""Bytes that must stay free where a program writes."""


class ProgramLimitError(CannotTraceError):
    """A program went over a limit of time, silence, output or space, and was ended."""


def quiet(_what: str, _done: float | None) -> None:
    """A Progress that prints nothing."""


def is_text(text: str) -> bool:
    """Whether TEXT, an argument of ours, is UTF-8 without a zero byte (PEP 383)."""
    try:
        return b"\0" not in text.encode()
    except UnicodeEncodeError:
        return False


def find(program: str) -> str:
    """The program's path. Raises CannotTraceError naming the package that has it.

    The sbin folders are searched too: depmod is there, and a plain user's PATH lacks them.
    """
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), *_SBIN])
    found = shutil.which(program, path=path)
    if found is None:
        package = PACKAGES.get(program, program)
        raise CannotTraceError(f"{program} is not installed", f"apt install {package}")
    return found


def need(programs: Iterable[str]) -> None:
    """Checks that PROGRAMS are installed. Raises CannotTraceError naming every missing package."""
    absent = missing(programs)
    if absent:
        packages = sorted({PACKAGES.get(program, program) for program in absent})
        verb = "are" if len(absent) > 1 else "is"
        raise CannotTraceError(
            f"{', '.join(absent)} {verb} not installed", f"apt install {' '.join(packages)}"
        )


def missing(programs: Iterable[str]) -> list[str]:
    """Those of PROGRAMS that are not installed."""
    absent = []
    for program in programs:
        try:
            find(program)
        except CannotTraceError:
            absent.append(program)
    return absent


def run(
    argv: Sequence[str],
    what: str,
    *,
    cwd: Path | None = None,
    check: bool = True,
    limits: Limits = Limits(),  # noqa: B008 it is immutable
    watch: Callable[[], str] = lambda: "",
    env: dict[str, str] | None = None,
) -> subprocess.CompletedProcess[str]:
    """Runs a program to its end and returns its output as text.

    WHAT says what it is for; messages begin with it. WATCH: see :func:`children.read`. ENV is added
    to our environment. Raises ProgramLimitError when the program goes over LIMITS; CannotTraceError
    when it is missing or, with CHECK, when it fails: the message has its own reason.
    """
    command = [find(argv[0]), *argv[1:]]
    output: dict[str, list[bytes]] = {"stdout": [], "stderr": []}

    def keep(name: str, data: bytes) -> bool:
        output[name].append(data)
        return True

    try:
        with Child(
            command, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment(env)
        ) as child:
            assert child.stdout is not None
            assert child.stderr is not None
            pipes = {"stdout": child.stdout.fileno(), "stderr": child.stderr.fileno()}
            read(child, pipes, limits, keep, watch)
    except OSError as error:
        raise CannotTraceError(f"{what}: {argv[0]}: {error.strerror}") from error
    except LimitError as error:
        raise ProgramLimitError(f"{what}: {argv[0]} was ended: {error}") from error
    text = {name: b"".join(parts).decode(errors="replace") for name, parts in output.items()}
    done = subprocess.CompletedProcess(command, child.returncode, text["stdout"], text["stderr"])
    if check and done.returncode != 0:
        raise failed(what, argv[0], done.returncode, done.stderr)
    return done


def follow(
    argv: Sequence[str],
    what: str,
    on_line: Callable[[str], bool],
    *,
    limits: Limits,
    folder: Path,
    status_option: str = "",
    env: dict[str, str] | None = None,
) -> tuple[int, str]:
    """Runs a long program that writes below FOLDER. Returns its exit status and standard error.

    ON_LINE gets each line of its standard error, or, with STATUS_OPTION, each line that it writes
    to the descriptor that ``-o STATUS_OPTION=FD`` names. It returns whether the line is progress.

    Raises CannotTraceError when the program is missing, ProgramLimitError when it goes over LIMITS
    or fills the disk.
    """
    reader, writer = os.pipe()
    lines = _Lines(on_line)
    errors = bytearray()

    def consume(name: str, data: bytes) -> bool:
        if name == "stderr":
            errors.extend(data)
            del errors[: -(1 << 16)]
            if status_option:
                return False
        return lines.feed(data)

    command = [find(argv[0]), *argv[1:]]
    if status_option:
        command[1:1] = ["-o", f"{status_option}={writer}"]
    # SIGTERM for the program when we are killed: it then ends what it started.
    command = [find("setpriv"), "--pdeathsig", "TERM", "--", *command]
    try:
        with (
            os.fdopen(reader, "rb") as status,
            os.fdopen(writer, "wb") as theirs,
            Child(
                command,
                cwd=folder,
                pass_fds=[writer],
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                env=environment(env),
            ) as child,
        ):
            theirs.close()
            assert child.stderr is not None
            sources = {"stderr": child.stderr.fileno(), "status": status.fileno()}
            read(child, sources, limits, consume, lambda: no_room(folder))
    except OSError as error:
        raise CannotTraceError(f"{what}: {argv[0]}: {error.strerror}") from error
    except LimitError as error:
        raise ProgramLimitError(
            f"{what}: {argv[0]} was ended: {error}",
            "check the network, and the room where the cache is (XDG_CACHE_HOME)",
        ) from error
    return child.returncode, errors.decode(errors="replace")


def no_room(folder: Path) -> str:
    """Why a program must stop writing below FOLDER, or ""."""
    try:
        found = os.statvfs(folder)
    except OSError:
        return ""
    free = found.f_bavail * found.f_frsize
    return f"no space is left in {folder}" if free < ROOM else ""


def environment(more: dict[str, str] | None = None) -> dict[str, str]:
    """Our environment for a program, with messages in English, and MORE."""
    return {**os.environ, "LC_ALL": "C.UTF-8", **(more or {})}


class _Lines:
    """Cuts bytes into lines. A line's first 64 KiB are kept."""

    def __init__(self, on_line: Callable[[str], bool]) -> None:
        self._on_line = on_line
        self._rest = b""

    def feed(self, data: bytes) -> bool:
        *lines, rest = (self._rest + data).split(b"\n")
        self._rest = rest[: 1 << 16]
        news = [self._on_line(line.decode(errors="replace")) for line in lines]
        return any(news)


def failed(what: str, program: str, status: int, stderr: str) -> CannotTraceError:
    """The error for a program that ended with STATUS: the line of its STDERR that says why."""
    return CannotTraceError(
        f"{what}: {program} said: {error_line(stderr) or f'nothing (status {status})'}"
    )


def error_line(stderr: str) -> str:
    """The most telling line of a program's STDERR: its first error, else its last line."""
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    errors = [line for line in lines if re.match("E:|Err:|error:|fatal:", line)]
    return (errors or lines[-1:] or [""])[0]
