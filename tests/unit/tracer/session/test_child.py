# SPDX-License-Identifier: GPL-2.0-or-later
"""Computing in a child process: its result, its errors, its end."""

from __future__ import annotations

import os
import select
import signal
import time
from pathlib import Path

import pytest

from virtio_trace.errors import BadInputError, CannotTraceError
from virtio_trace.tracer.session.child import in_child


def test_the_result_is_that_of_another_process() -> None:
    with in_child(lambda: (os.getpid(), b"x" * 1_000_000)) as result:
        pid, data = result()
    assert pid != os.getpid()
    assert len(data) == 1_000_000


def test_an_error_is_raised_here_with_its_hint_and_its_place() -> None:
    def fail() -> None:
        raise BadInputError("damaged", "copy it again")

    with in_child(fail) as result, pytest.raises(BadInputError, match="damaged") as error:
        result()
    assert error.value.hint == "copy it again"
    assert "in fail" in error.value.__notes__[0]


def test_a_child_that_is_killed_is_an_error() -> None:
    with (
        in_child(lambda: os.kill(os.getpid(), signal.SIGTERM)) as result,
        pytest.raises(CannotTraceError, match="was killed"),
    ):
        result()


def test_a_child_ends_with_its_parent() -> None:
    """A watcher waits for all copies of a pipe's writing end: the child must not keep one."""
    reader, writer = os.pipe()
    parent = os.fork()
    if parent == 0:
        with in_child(lambda: time.sleep(60)):
            os.write(writer, b"x")
            time.sleep(60)
    os.close(writer)
    assert os.read(reader, 1) == b"x"
    time.sleep(0.5)  # until the child has begun
    os.kill(parent, signal.SIGKILL)
    os.waitpid(parent, 0)
    ready, _, _ = select.select([reader], [], [], 20)
    assert ready and os.read(reader, 1) == b""
    os.close(reader)


def children() -> set[str]:
    """The processes that this thread has started, as long as they are there or not waited for."""
    return set(Path(f"/proc/self/task/{os.getpid()}/children").read_text("ascii").split())


def test_a_child_that_is_not_needed_any_more_ends() -> None:
    """Whatever other children there are: guests boot while the unit tests run."""
    started = time.monotonic()
    pids: list[str] = []
    before = children()
    with pytest.raises(KeyError), in_child(lambda: time.sleep(60)):
        pids += children() - before
        raise KeyError
    assert time.monotonic() - started < 30
    assert len(pids) == 1
    assert not Path(f"/proc/{pids[0]}").exists()
