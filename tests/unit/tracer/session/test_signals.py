# SPDX-License-Identifier: GPL-2.0-or-later
"""A signal that comes while something is half done is taken behind it, and not lost."""

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


def test_it_is_taken_behind_the_body(number: signal.Signals) -> None:
    kept: list[str] = []
    with pytest.raises(_EndedError), held():
        signal.pthread_kill(threading.get_ident(), number)
        kept.append("what the call gave")
    assert kept == ["what the call gave"]


def test_it_is_taken_behind_the_outermost_body(number: signal.Signals) -> None:
    kept: list[str] = []
    with pytest.raises(_EndedError), held():
        with held():
            signal.pthread_kill(threading.get_ident(), number)
        kept.append("the inner one gave nothing back")
    assert kept == ["the inner one gave nothing back"]


def test_without_it_the_signal_comes_between(number: signal.Signals) -> None:
    kept: list[str] = []
    with pytest.raises(_EndedError):
        signal.pthread_kill(threading.get_ident(), number)
        kept.append("never reached")
    assert kept == []
