# SPDX-License-Identifier: GPL-2.0-or-later
"""Computes a value in a child process while this one does something else.

A process and not a thread: BCC's messages can only be caught by replacing file descriptor 2 of the
whole process, and another thread's messages would be caught with them.
"""

from __future__ import annotations

import contextlib
import ctypes as ct
import os
import pickle
import signal
import traceback
from collections.abc import Callable, Iterator
from typing import Any, NoReturn, TypeVar

from virtio_trace.errors import CannotTraceError
from virtio_trace.tracer.session.signals import ENDING

_T = TypeVar("_T")

_PR_SET_PDEATHSIG = 1  # include/uapi/linux/prctl.h


@contextlib.contextmanager
def in_child(function: Callable[[], _T]) -> Iterator[Callable[[], _T]]:
    """Run FUNCTION in a child while the body runs; the body calls what it is given for the result.

    That waits for the child, and raises what FUNCTION raised. The result must be picklable. The
    child ends when the body is left, finished or not.
    """
    reader, writer = os.pipe2(os.O_CLOEXEC)
    parent = os.getpid()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)
    pid = os.fork()
    if pid == 0:
        _run(function, writer, parent)
    try:
        os.close(writer)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        yield lambda: _result(reader)
    finally:
        os.close(reader)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def _result(reader: int) -> Any:
    parts = []
    while part := os.read(reader, 1 << 20):
        parts.append(part)
    if not parts:
        raise CannotTraceError("the process that reads the kernel's files was killed")
    value, error = pickle.loads(b"".join(parts))
    if error is not None:
        raise error
    return value


def _run(function: Callable[[], object], writer: int, parent: int) -> NoReturn:
    """The child. It ends at once with its parent, whose watcher waits for all copies of a pipe."""
    try:
        ct.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it has died before that call
            os._exit(1)
        for number in ENDING:
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING)
        with open(writer, "wb") as file:
            file.write(_answer(function))
    finally:
        os._exit(0)


def _answer(function: Callable[[], object]) -> bytes:
    try:
        return pickle.dumps((function(), None))
    except Exception as error:
        error.add_note("".join(traceback.format_exception(error)))  # the pickle has no traceback
        return pickle.dumps((None, error))
