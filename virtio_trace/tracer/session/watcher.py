# SPDX-License-Identifier: GPL-2.0-or-later
"""A small child that outlives the recorder and removes its tracefs events, whatever kills it.

Armed probes belong to file descriptors and end with the process; the definitions do not. The child
is forked before BCC is imported, so it is small. It waits for the other end of a pipe to close. If
the recorder ends normally, nothing is left to remove.

See docs/decisions/0011.
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
    """While the body runs, a child waits to remove EVENTS in case this process is killed."""
    reader, writer = os.pipe2(os.O_CLOEXEC)
    # Python swallows a KeyboardInterrupt that is raised in one of its hooks around a fork.
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
    """The child: never returns, and closes all of the parent's descriptors but the pipe."""
    status = 1
    try:
        os.setsid()  # Ctrl-C and hang-up of the terminal are for the recorder
        for number in (*ENDING, signal.SIGPIPE):
            signal.signal(number, signal.SIG_IGN)
        null = os.open(os.devnull, os.O_RDWR)
        for standard in (0, 1, 2):  # else a reader of the recorder's output would not see it end
            os.dup2(null, standard)
        _close_all_but(reader)
        while os.read(reader, 1):
            pass
        events.remove()
        status = 0
    except (OSError, VirtioTraceError):
        pass  # nobody is left to tell; the next record or doctor sweeps
    finally:
        os._exit(status)


def _close_all_but(keep: int) -> None:
    for name in Path("/proc/self/fd").iterdir():
        number = int(name.name)
        if number > 2 and number != keep:
            with contextlib.suppress(OSError):
                os.close(number)
