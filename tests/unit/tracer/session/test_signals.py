# SPDX-License-Identifier: GPL-2.0-or-later
"""A signal that comes while something is half done is delivered after it, and not lost."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from types import FrameType

import pytest

from virtio_trace.tracer.session.signals import ENDING, held


class _EndedError(Exception):
    pass


def _end(_number: int, _frame: FrameType | None) -> None:
    raise _EndedError


@pytest.fixture(params=ENDING, ids=lambda number: number.name)
def number(request: pytest.FixtureRequest) -> Iterator[signal.Signals]:
    before = signal.signal(request.param, _end)
    yield request.param
    signal.signal(request.param, before)


def test_a_signal_is_delivered_after_the_body(number: signal.Signals) -> None:
    kept: list[str] = []
    with pytest.raises(_EndedError), held():
        signal.pthread_kill(threading.get_ident(), number)
        kept.append("the result of the call")
    assert kept == ["the result of the call"]


def test_a_signal_is_delivered_after_the_outermost_body(number: signal.Signals) -> None:
    kept: list[str] = []
    with pytest.raises(_EndedError), held():
        with held():
            signal.pthread_kill(threading.get_ident(), number)
        kept.append("not interrupted by the inner one")
    assert kept == ["not interrupted by the inner one"]


def test_without_held_a_signal_is_delivered_at_once(number: signal.Signals) -> None:
    kept: list[str] = []
    with pytest.raises(_EndedError):
        signal.pthread_kill(threading.get_ident(), number)
        kept.append("never reached")
    assert kept == []
