# SPDX-License-Identifier: GPL-2.0-or-later
"""The child that compiles: what it answers, how it ends, and what it can read."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path

import pytest

from virtio_trace.errors import CannotTraceError
from virtio_trace.tracer.bpf.child import alone_in, in_child, messages


def test_the_answer_is_what_the_work_returns() -> None:
    long = bytes(1 << 20)  # more than a pipe holds
    assert in_child(lambda: long) == long
    assert in_child(lambda: b"") == b""


def test_an_error_comes_with_its_hint() -> None:
    def fail() -> bytes:
        raise CannotTraceError("no such luck", "another time")

    with pytest.raises(CannotTraceError, match="no such luck") as seen:
        in_child(fail)
    assert seen.value.hint == "another time"


def test_a_crash_of_the_compiler_is_an_error() -> None:
    def crash() -> bytes:
        os.kill(os.getpid(), signal.SIGKILL)
        return b"not reached"

    with pytest.raises(CannotTraceError, match="BCC died"):
        in_child(crash)


def test_an_interrupt_kills_the_child(tmp_path: Path) -> None:
    started = tmp_path / "pid"

    def wait() -> bytes:
        started.write_text(str(os.getpid()))
        time.sleep(3600)
        return b""

    def interrupt() -> None:
        while not (started.exists() and started.read_text()):
            time.sleep(0.01)
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        in_child(wait)
    thread.join()
    with pytest.raises(ProcessLookupError):
        os.kill(int(started.read_text()), 0)


def test_nothing_but_the_folder_can_be_read(tmp_path: Path) -> None:
    (tmp_path / "here").write_text("ours")

    def look() -> bytes:
        with alone_in(tmp_path) as place:
            assert (place / "here").read_text() == Path("here").read_text() == "ours"
            kallsyms = Path("/proc/kallsyms").exists()
        # The root is the old one again, for a second attempt.
        return f"{kallsyms} {Path('/proc/kallsyms').exists()}".encode()

    # An ordinary user cannot change the root.
    inside = b"True" if os.geteuid() else b"False"
    assert in_child(look) == inside + b" True"
    assert Path.cwd() != tmp_path


def test_messages_are_taken_from_descriptor_2(capfd: pytest.CaptureFixture[str]) -> None:
    with messages() as said:
        os.write(2, b"an error\n")
        assert said() == "an error\n"
    os.write(2, b"seen\n")
    assert capfd.readouterr().err == "seen\n"
