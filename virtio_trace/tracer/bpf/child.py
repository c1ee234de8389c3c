# SPDX-License-Identifier: GPL-2.0-or-later
"""Runs the compiler in a child process, with nothing but bpf/ to read.

The child may redirect file descriptor 2, and change its working folder and its root, and other
threads see nothing of it. LLVM's memory is free when it ends, and it may crash.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NoReturn

from virtio_trace.errors import CannotTraceError

_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_DONE, _FAILED = b"+", b"-"


def in_child(work: Callable[[], bytes]) -> bytes:
    """What WORK returns, run in a forked child.

    Raises the CannotTraceError that WORK raises, or one of its own if the child dies. If this
    process is interrupted meanwhile, the child is killed.
    """
    reader, writer = os.pipe2(os.O_CLOEXEC)
    with os.fdopen(reader, "rb") as answer:
        # Python swallows a KeyboardInterrupt that is raised in one of its hooks around a fork.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, _ENDING)
        pid = os.fork()
        if pid == 0:
            _answer(work, writer)
        try:
            os.close(writer)
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
            data = answer.read()
        finally:
            # What it had to say is read, or nobody waits for it: LLVM need not clean up.
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, 0)
    if data[:1] == _DONE:
        return data[1:]
    if data[:1] == _FAILED:
        raise CannotTraceError(*json.loads(data[1:]))
    raise CannotTraceError("BCC died while it compiled", "install another version of BCC")


def _answer(work: Callable[[], bytes], writer: int) -> NoReturn:
    """The child. Ctrl-C, which is for the parent, ends it silently."""
    try:
        for number in _ENDING:
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _ENDING)
        try:
            data = _DONE + work()
        except CannotTraceError as error:
            data = _FAILED + json.dumps([str(error), error.hint]).encode()
        with os.fdopen(writer, "wb") as file:
            file.write(data)
    finally:
        os._exit(0)


@contextlib.contextmanager
def alone_in(folder: Path) -> Iterator[Path]:
    """For a child: make FOLDER the working folder and, if root runs this, "/". Yields its path.

    clang finds no header of anybody else. BCC 0.26 reads /proc/kallsyms to choose between two
    helpers, neither of which we use (BFrontendAction::DoMiscWorkAround), and does so slowly. Here
    there is none, and it chooses at once.
    """
    root = os.open("/", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    os.chdir(folder)
    try:
        os.chroot(".")
    except PermissionError:
        place = folder
    else:
        place = Path("/")
    try:
        yield place
    finally:
        os.fchdir(root)
        if place != folder:
            os.chroot(".")
        os.close(root)


@contextlib.contextmanager
def messages() -> Iterator[Callable[[], str]]:
    """For a child: file descriptor 2 goes to memory. Yields what reads it."""
    saved, said = os.dup(2), os.memfd_create("messages")
    try:
        os.dup2(said, 2)
        yield lambda: os.pread(said, os.fstat(said).st_size, 0).decode(errors="replace")
    finally:
        os.dup2(saved, 2)
        os.close(saved)
        os.close(said)
