# SPDX-License-Identifier: GPL-2.0-or-later
"""Other people's programs: whether they are there, how they are run, what they say when they fail.

The one place where subprocess and its errors are turned into ours.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from virtio_trace.errors import CannotTraceError
from virtio_trace.kernel.files.machine import MACHINES

Progress = Callable[[str, float | None], None]
"""``progress(what, done)``: WHAT is being done, DONE from 0.0 to 1.0, None where nobody knows.

Called as often as there is news; 1.0 comes once, at the end of each WHAT.
"""

PACKAGES = {
    "apt-get": "apt",
    "apt-cache": "apt",
    "apt-config": "apt",
    "dpkg": "dpkg",
    "dpkg-deb": "dpkg",
    "mmdebstrap": "mmdebstrap",
    "depmod": "kmod",
    "setpriv": "util-linux",
    **{machine.program: machine.package for machine in MACHINES},
    "qemu-img": "qemu-utils",
    "sfdisk": "fdisk",
    "blkid": "util-linux",
    "debugfs": "e2fsprogs",
}
"""Program to the Debian package that has it."""

_SBIN = ("/usr/local/sbin", "/usr/sbin", "/sbin")


def quiet(_what: str, _done: float | None) -> None:
    """A Progress that says nothing."""


def find(program: str) -> str:
    """The program's path. Raises CannotTraceError naming the package that has it.

    The sbin folders are looked at too: depmod is there, and a plain user's PATH is not.
    """
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), *_SBIN])
    found = shutil.which(program, path=path)
    if found is None:
        package = PACKAGES.get(program, program)
        raise CannotTraceError(f"{program} is not installed", f"apt install {package}")
    return found


def need(programs: Iterable[str]) -> None:
    """Looks for all programs. Raises CannotTraceError naming every package that is missing."""
    missing = []
    for program in programs:
        try:
            find(program)
        except CannotTraceError:
            missing.append(program)
    if missing:
        packages = sorted({PACKAGES.get(program, program) for program in missing})
        verb = "are" if len(missing) > 1 else "is"
        raise CannotTraceError(
            f"{', '.join(missing)} {verb} not installed", f"apt install {' '.join(packages)}"
        )


def run(
    argv: Sequence[str], what: str, *, cwd: Path | None = None, check: bool = True
) -> subprocess.CompletedProcess[str]:
    """Runs a program to its end, its output as text.

    WHAT says in words what it was for. Raises CannotTraceError when the program is not there, or,
    with CHECK, when it fails, with the last line that it said.
    """
    command = [find(argv[0]), *argv[1:]]
    try:
        done = subprocess.run(
            command,
            cwd=cwd,
            check=False,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            env={**os.environ, "LC_ALL": "C.UTF-8"},
        )
    except OSError as error:
        raise CannotTraceError(f"{what}: {argv[0]}: {error.strerror}") from error
    if check and done.returncode != 0:
        raise failed(what, argv[0], done.returncode, done.stderr)
    return done


@contextlib.contextmanager
def ended(child: subprocess.Popen[Any]) -> Iterator[None]:
    """Asks CHILD to end when the block is left by an exception, so that Ctrl-C waits for nobody."""
    try:
        yield
    except BaseException:
        child.terminate()
        raise


def failed(what: str, program: str, status: int, stderr: str) -> CannotTraceError:
    """The error for a program that ended with STATUS: the line of its STDERR that says why."""
    return CannotTraceError(
        f"{what}: {program} said: {said(stderr) or f'nothing (status {status})'}"
    )


def said(stderr: str) -> str:
    """The line of a program's complaints that says most: its first error, else its last line."""
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith(("E:", "Err:", "error:", "fatal:"))]
    return (errors or lines[-1:] or [""])[0]
