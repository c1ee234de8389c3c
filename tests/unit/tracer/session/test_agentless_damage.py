# SPDX-License-Identifier: GPL-2.0-or-later
"""What a guest without an agent may say and should not; found by tests/fuzz."""

from __future__ import annotations

import pytest

from tests.unit.tracer.session import test_agentless as guest
from virtio_trace.errors import IncompleteError
from virtio_trace.recording import reader

LONG = "9" * 5000


@pytest.mark.parametrize("seconds", ["inf", "-1", "nan", "1e300", "²"])
def test_an_uptime_that_is_none(seconds: str) -> None:
    said = guest.text().replace("@@ uptime 1.99", f"@@ uptime {seconds}")
    with pytest.raises(IncompleteError):
        guest.assemble(said)


@pytest.mark.parametrize("count", [LONG, "²"])
def test_a_count_that_is_none(count: str) -> None:
    said = guest.text(
        stats=f"cpu0 overrun: {count}\n", profile=f"  r  1  {count}\n", kmsg=f"6,{count},1,-;x\n"
    )
    recording = reader.read(guest.assemble(said), "assembled")
    assert recording.trailer is not None and recording.trailer.lost == 0


def test_an_end_without_a_beginning() -> None:
    """A trailer without a header was a file that nobody could read."""
    with pytest.raises(IncompleteError):
        guest.assemble(guest.text(begin=""))


def test_two_beginnings_and_two_ends() -> None:
    said = guest.text(begin=2 * guest.BEGIN) + "@@ ended 1\n@@ trace\n" + guest.LIVE
    recording = reader.read(guest.assemble(said), "assembled")
    assert recording.trailer is not None and recording.trailer.command_status == 0
