# SPDX-License-Identifier: GPL-2.0-or-later
"""Signals while something is armed: none is lost, none cuts the cleaning up short."""

from __future__ import annotations

import os
import signal

import pytest

from virtio_trace.cli.support.interrupts import Interrupts


def send(number: signal.Signals) -> None:
    os.kill(os.getpid(), number)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_raised_once_while_arming(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with Interrupts():
        with pytest.raises(KeyboardInterrupt):
            send(number)
        send(number)  # no second one
    assert signal.getsignal(number) is before


def test_noted_while_collecting() -> None:
    with Interrupts() as interrupts:
        interrupts.collect()
        assert interrupts.received is None
        send(signal.SIGTERM)
        assert interrupts.received == signal.SIGTERM


def test_one_that_python_swallowed_is_raised_later() -> None:
    """As around a fork, or in a finalizer."""
    for again in (Interrupts.check, Interrupts.collect):
        with Interrupts() as interrupts:
            with pytest.raises(KeyboardInterrupt):
                send(signal.SIGHUP)
            with pytest.raises(KeyboardInterrupt, match=str(int(signal.SIGHUP))):
                again(interrupts)


def test_what_is_ignored_stays_ignored() -> None:
    """nohup."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with Interrupts() as interrupts:
            send(signal.SIGHUP)
            assert interrupts.received is None
    finally:
        signal.signal(signal.SIGHUP, before)
