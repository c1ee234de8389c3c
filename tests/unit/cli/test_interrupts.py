# SPDX-License-Identifier: GPL-2.0-or-later
"""Signals while probes are armed: none is lost, and none interrupts the clean-up."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from virtio_trace.cli.support.interrupts import Interrupts

TOP = Path(__file__).parents[3]


def send(number: signal.Signals) -> None:
    os.kill(os.getpid(), number)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_raised_once_while_arming(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with Interrupts():
        with pytest.raises(KeyboardInterrupt):
            send(number)
        send(number)  # a second one is not raised
    assert signal.getsignal(number) is before


def test_noted_while_collecting() -> None:
    with Interrupts() as interrupts:
        interrupts.collect()
        assert interrupts.received is None
        send(signal.SIGTERM)
        assert interrupts.received == signal.SIGTERM


@pytest.mark.parametrize("again", [Interrupts.check, Interrupts.collect])
def test_a_signal_in_a_finalizer_is_raised_later_and_prints_nothing(
    again: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Python cannot raise there: it would print a traceback and go on."""
    printed: list[Any] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda that: printed.append(that.exc_type))

    class Finalized:
        def __init__(self, error: type[BaseException] | None) -> None:
            self.error = error

        def __del__(self) -> None:
            if self.error is not None:
                raise self.error
            send(signal.SIGHUP)

    with Interrupts() as interrupts:
        Finalized(None)
        assert interrupts.received == signal.SIGHUP
        assert printed == []
        Finalized(ValueError)  # other errors are still printed
        assert printed == [ValueError]
        with pytest.raises(KeyboardInterrupt, match=str(int(signal.SIGHUP))):
            again(interrupts)
    Finalized(KeyboardInterrupt)
    assert printed == [ValueError, KeyboardInterrupt]


def test_an_ignored_signal_stays_ignored() -> None:
    """As under nohup."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with Interrupts() as interrupts:
            send(signal.SIGHUP)
            assert interrupts.received is None
    finally:
        signal.signal(signal.SIGHUP, before)


_IN_AN_EXEC = """
import os, signal
from virtio_trace.cli.support.interrupts import Interrupts
with Interrupts():
    try:
        exec("os.kill(os.getpid(), signal.SIGHUP); len('')")
    except KeyboardInterrupt as caught:
        status = caught.args[0]
raise SystemExit(status)
"""


def test_one_that_leaves_an_exec_does_not_end_python_by_sigint(tmp_path: Path) -> None:
    """As in an import that defines a dataclass: ``python3 -m`` remembers it to its end."""
    (tmp_path / "in_an_exec.py").write_text(_IN_AN_EXEC)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(TOP)])}
    done = subprocess.run(
        [sys.executable, "-m", "in_an_exec"], env=environment, capture_output=True, check=False
    )
    assert (done.returncode, done.stderr) == (signal.SIGHUP, b"")
