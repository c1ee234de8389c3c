# SPDX-License-Identifier: GPL-2.0-or-later
"""Profile spec: for each rule there is a modified real recording that violates it.

A rule that no recording can violate is useless. tests/golden/README.md describes the recordings.
"""

from __future__ import annotations

import pytest

from tests.unit.check.spec_cuts import CONFORMING, IDS, VIOLATIONS, errors
from tests.unit.surgery import Line, at, dump, golden, judge, mend
from virtio_trace.check import verdict
from virtio_trace.check.findings import CONFORMS, DEVIATES, INCOMPLETE, NOTE
from virtio_trace.check.profiles import SPEC
from virtio_trace.errors import BadInputError
from virtio_trace.graph import builder
from virtio_trace.recording import reader


@pytest.mark.parametrize("name", VIOLATIONS)
def test_every_rule_condemns(name: str) -> None:
    step, subject, cut = VIOLATIONS[name]
    result = judge(cut(), SPEC)
    assert result.verdict == DEVIATES
    assert (step, subject) in errors(result), result.findings
    assert any((s.id, s.subject, s.ok) == (step, subject, False) for s in result.steps)
    assert {about for _, about in errors(result)} == {subject}


@pytest.mark.parametrize("name", VIOLATIONS)
def test_with_losses_nothing_is_condemned(name: str) -> None:
    lines = VIOLATIONS[name][2]()
    lines[-1]["lost"] = 1
    assert judge(lines, SPEC).verdict == INCOMPLETE


def test_there_is_a_violation_of_every_step() -> None:
    assert {step for step, _, _ in VIOLATIONS.values()} == IDS


@pytest.mark.parametrize("name", CONFORMING)
def test_the_whole_recordings_conform(name: str) -> None:
    result = judge(golden(name), SPEC)
    assert (result.verdict, result.profile) == (CONFORMS, "spec"), result.findings
    assert {f.severity for f in result.findings} == {NOTE}
    assert all(step.ok for step in result.steps)


def test_together_they_take_every_step() -> None:
    taken = {step.id for name in CONFORMING for step in judge(golden(name), SPEC).steps}
    assert taken == IDS


@pytest.mark.parametrize("name", CONFORMING)
def test_dropping_any_one_line_leaves_no_conforms(name: str) -> None:
    whole = dump(golden(name))
    for number in range(len(whole)):
        try:
            read = reader.read(whole[:number] + whole[number + 1 :], name)
        except BadInputError:
            assert number == 0
            continue
        assert verdict.check(builder.build(read), SPEC).verdict == INCOMPLETE, f"line {number + 1}"


MATTERS = ("reset", "set_status", "get_features", "virtio_features_ok")


def asked_for(event: Line, lines: list[Line]) -> bool:
    """Whether a rule needs EVENT. Not needed: an ACKNOWLEDGE that nothing or a reset follows, and
    one of two resets with nothing in between."""
    if event.get("detail", {}).get("status", 3) > 1:
        return True
    address, writes = event["device"]["address"], ("reset", "set_status")
    shown = [e for e in lines if e.get("probe") in writes and e["device"]["address"] == address]
    here = shown.index(event)
    before, after = shown[:here][-1:], shown[here + 1 :][:1]
    if not after or after[0]["detail"]["status"] == 0:
        return False
    return not before or before[0]["detail"]["status"] != 0 or event["probe"] != "reset"


@pytest.mark.parametrize("probe", MATTERS)
@pytest.mark.parametrize("name", ["debian-6.1", "debian-6.1-rebind", "debian-6.1-suspend"])
def test_without_any_one_event_it_deviates(name: str, probe: str) -> None:
    """As if the kernel had not made the call: no event counts as lost."""
    lines = golden(name)
    events = [line for line in lines if "seq" in line and at(probe)(line)]
    entered = [e for e in events if e["kind"] != "return" and asked_for(e, lines)]
    assert entered
    for event in entered:
        gone = {event["seq"]}
        if probe == "virtio_features_ok":  # its return as well
            gone.add(min(e["seq"] for e in events if e["seq"] > event["seq"]))
        kept = [line for line in lines if line.get("seq") not in gone]
        assert judge(mend(kept), SPEC).verdict == DEVIATES, event
