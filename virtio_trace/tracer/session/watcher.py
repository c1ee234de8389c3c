# SPDX-License-Identifier: GPL-2.0-or-later
"""A small child that outlives the recorder and removes its tracefs events, whatever killed it.

What is armed hangs on file descriptors and ends with the process; the definitions do not. The
child is forked before BCC is imported, so it is small, and waits for the pipe's other end to
close. On a normal end it finds nothing to do.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path

from virtio_trace.errors import VirtioTraceError
from virtio_trace.tracer.ftrace.tracefs import KprobeEvents
from virtio_trace.tracer.session.signals import ENDING


@contextlib.contextmanager
def watched(events: KprobeEvents) -> Iterator[None]:
    """While the body runs, a child stands by to remove EVENTS should this process be killed."""
    reader, writer = os.pipe2(os.O_CLOEXEC)
    # A KeyboardInterrupt that is raised in one of Python's hooks around a fork is swallowed there.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)
    pid = os.fork()
    if pid == 0:
        _watch(events, reader)
    try:
        os.close(reader)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        yield
    finally:
        os.close(writer)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, 0)


def _watch(events: KprobeEvents, reader: int) -> None:
    """The child: never returns, and keeps nothing of the parent's but the pipe."""
    status = 1
    try:
        os.setsid()  # a terminal's Ctrl-C and hang-up are the recorder's
        for number in (*ENDING, signal.SIGPIPE):
            signal.signal(number, signal.SIG_IGN)
        null = os.open(os.devnull, os.O_RDWR)
        for standard in (0, 1, 2):  # a reader of our output must see its end when the parent ends
            os.dup2(null, standard)
        _close_all_but(reader)
        while os.read(reader, 1):
            pass
        events.remove()
        status = 0
    except (OSError, VirtioTraceError):
        pass  # nobody is left to be told; the next record or doctor sweeps
    finally:
        os._exit(status)


def _close_all_but(keep: int) -> None:
    for name in Path("/proc/self/fd").iterdir():
        number = int(name.name)
        if number > 2 and number != keep:
            with contextlib.suppress(OSError):
                os.close(number)
