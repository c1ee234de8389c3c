# SPDX-License-Identifier: GPL-2.0-or-later
"""Which call a return ends if events were lost."""

from __future__ import annotations

import pytest

from virtio_trace.graph.calls import Nester
from virtio_trace.recording.events import ENTRY, RETURN, Event


def event(seq: int, kind: str, ns: int, duration_ns: int | None = None) -> Event:
    return Event(seq, ns, 0, 7, "comm", kind, "virtio_dev_probe", duration_ns=duration_ns)


@pytest.mark.parametrize(
    ("seq", "duration_ns", "its"),
    [
        (2, 400, True),
        (2, None, True),  # nothing was lost, so it is unambiguous
        (4, 400, True),
        (4, 300, False),  # its call began after the recorded entry
        (4, None, False),  # unknown
    ],
)
def test_a_return_after_a_gap(seq: int, duration_ns: int | None, its: bool) -> None:
    nester = Nester()
    call = nester.add(event(1, ENTRY, 100))
    ended = nester.add(event(seq, RETURN, 500, duration_ns))
    assert call is not None and ended is not None
    assert (ended is call) == its
    assert (call.ret is not None) == its
    assert ended.ret is not None and ended.ret.ns == 500
