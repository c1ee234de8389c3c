# SPDX-License-Identifier: GPL-2.0-or-later
"""What was not seen is no error: probe points that the recorder did not know, unknown results."""

from __future__ import annotations

import pytest

from tests.mutate import of_points
from tests.mutate.base import Base
from tests.mutate.judge import BLAMED, Judge
from tests.mutate.run import GOLDEN
from tests.unit.surgery import at, change, golden, judge
from virtio_trace.check import verdict
from virtio_trace.check.findings import INCOMPLETE
from virtio_trace.graph import builder

RECORDINGS = sorted(path.stem for path in GOLDEN.glob("*.vtr"))


@pytest.mark.parametrize("name", RECORDINGS)
def test_what_was_not_known_is_no_error(name: str) -> None:
    base = Base(GOLDEN / f"{name}.vtr")
    judge = Judge(base)
    mutants = list(of_points.mutants(base))
    assert len(mutants) >= 20
    survivors = [one for mutant in mutants for one in judge.survivors(mutant)]
    assert [one for one in survivors if one.how == BLAMED] == []


def test_what_a_probe_returned_may_be_unknown() -> None:
    """That of a virtio-mmio slot, which may be empty: it has no other event."""
    lines = change(golden("debian-arm64-6.12"), at("virtio_mmio_probe", kind="return"), result=None)
    result = judge(lines)
    assert result.verdict == INCOMPLETE
    messages = {f.message for f in result.findings if f.step == "device-registered"}
    assert messages == {"what the transport's probe returned was not seen"}


@pytest.mark.parametrize("name", ["debian-6.1", "debian-6.12"])
@pytest.mark.parametrize("point", ["virtio_pci_probe", "register_virtio_device"])
def test_a_device_is_still_one_device(name: str, point: str) -> None:
    base = Base(GOLDEN / f"{name}.vtr")
    (mutant,) = (m for m in of_points.mutants(base) if m.name == f"unlisted:{point} used")
    graph = builder.build(base.recording_of(mutant))
    whole = builder.build(base.recording)
    assert [d.address for d in graph.devices] == [d.address for d in whole.devices]
    assert verdict.check(graph).verdict == INCOMPLETE
