# SPDX-License-Identifier: GPL-2.0-or-later
"""Profile spec: missing proof and known deviations of Linux are not errors."""

from __future__ import annotations

import random

import pytest

from tests.unit.check.spec_cuts import (
    BALLOON,
    CONFORMING,
    IDS,
    LEGACY,
    NET,
    REFUSED,
    boot,
    errors,
    failures,
    restored_with_failed,
    status,
    suspended,
    written,
)
from tests.unit.surgery import Line, Where, at, change, golden, judge, mend, remove
from virtio_trace.check.findings import CONFORMS, DEVIATES, INCOMPLETE, NOTE, WARNING
from virtio_trace.check.profiles import SPEC


@pytest.mark.parametrize("name", [*CONFORMING, "debian-6.12-rebind"])
def test_what_was_lost_is_never_held_against_the_kernel(name: str) -> None:
    header, *events, trailer = golden(name)
    chance = random.Random(3)
    for _ in range(100):
        size, start = chance.choice((1, 2, 3, 5, 10, 30)), chance.randrange(len(events))
        block = events[:start] + events[start + size :]
        scattered = sorted(chance.sample(range(len(events)), max(1, len(events) - size)))
        for kept in (block, [events[number] for number in scattered], events[:start]):
            assert judge([header, *kept, trailer], SPEC).verdict == INCOMPLETE


@pytest.mark.parametrize("state", ["not armed", "absent"])
@pytest.mark.parametrize("probe", ["set_status", "reset", "get_features", "virtio_features_ok",
                                   "setup_vq", "virtio_dev_probe"])  # fmt: skip
def test_what_was_not_armed_is_unknown(probe: str, state: str) -> None:
    lines = remove(boot(), at(probe))
    for known in lines[-1]["probes"]:
        if known["probe"] == probe and not known["function"].startswith("vm_"):
            known.update(state=state, reason="refused")
    result = judge(lines, SPEC)
    assert result.verdict == INCOMPLETE
    assert any(step.ok is None for step in result.steps)


def test_what_another_transport_lacks_is_no_doubt() -> None:
    lines = remove(boot(), at("reset", NET))
    for known in lines[-1]["probes"]:
        if known["function"] == "vm_reset":
            known.update(state="not armed", reason="refused")
    assert judge(lines, SPEC).verdict == DEVIATES


def test_what_no_point_shows_is_unknown() -> None:
    """A device on a transport without probe points, such as ccw."""
    lines = remove(boot(), at("reset", NET))
    for line in lines:
        if line.get("device", {}).get("address") == NET:
            line["device"]["bus"] = "ccw"
    assert judge(lines, SPEC).verdict == INCOMPLETE


def test_what_was_there_before_is_unknown() -> None:
    """Debian 6.12 has the core built in: reset and ACKNOWLEDGE came before the recording."""
    result = judge(golden("debian-6.12-rebind"), SPEC)
    assert result.verdict == INCOMPLETE and not errors(result)
    assert {s.id for s in result.steps if s.ok is None} == {"reset", "acknowledge"}
    again = [s for s in result.steps if s.subject == NET and s.ok]
    assert {s.id for s in again} == IDS - {"failed"}


def test_a_device_of_which_nothing_is_seen_was_bound_before() -> None:
    lines = golden("debian-6.12-rebind")
    lines = remove(lines, lambda line: line.get("device", {}).get("address") == NET)
    (known,) = (d for d in lines[0]["snapshot"]["devices"] if d["address"] == NET)
    for driver, ids in ((None, {"reset", "acknowledge"}), ("virtio_net", IDS)):
        known["driver"] = driver
        result = judge(lines, SPEC)
        assert {s.id for s in result.steps if s.subject == NET and s.ok is None} == ids


def behind(first: Where, lines: list[Line], **snapshot: object) -> list[Line]:
    """LINES as if recorded from the first event that FIRST matches, with NET in the snapshot."""
    start = next(i for i, line in enumerate(lines) if "seq" in line and first(line))
    known = {"address": NET, "name": "virtio0", "bus": "pci", "driver": None, **snapshot}
    lines[0]["snapshot"]["devices"].append(known)
    return mend([lines[0], *lines[start:]])


@pytest.mark.parametrize("first", [status(3), status(11), status(15), at("setup_vq", NET)])
def test_a_recording_that_begins_amid_an_attempt_holds_nothing_against_it(first: Where) -> None:
    for snapshot in ({"status": 3}, {"status": 15, "driver": "virtio_net"}, {}):
        result = judge(behind(first, boot(), **snapshot), SPEC)
        assert (NET, None) in {(s.subject, s.ok) for s in result.steps}
        assert NET not in {subject for _, subject in errors(result)}


def test_what_was_amid_an_attempt_but_for_the_binding_is_unknown() -> None:
    lines = behind(at("virtio_dev_probe", NET), boot(), status=3)
    result = judge(
        remove(lines, status(3)), SPEC
    )  # as if it was written before the probe was armed
    assert NET not in {subject for _, subject in errors(result)}
    assert {s.ok for s in result.steps if s.subject == NET} == {None}


def test_on_failed_with_more_than_driver_the_rest_is_not_judged() -> None:
    """The status that virtio_blk leaves if its probe fails after FEATURES_OK."""
    lines, balloon = golden("debian-6.1-refused"), LEGACY
    lines = change(lines, at("virtio_features_ok", balloon, kind="return"), result=0)
    lines = change(lines, status(0x83, balloon), detail={"status": 0x8B})
    result = judge(lines, SPEC)
    assert result.verdict == CONFORMS, result.findings
    (note,) = (f for f in result.findings if "cannot be told" in f.message)
    assert (note.severity, note.step, note.subject) == (NOTE, "reset", balloon)


def test_a_device_that_refuses_and_a_driver_that_gives_up_conform() -> None:
    result = judge(failures(), SPEC)
    (note,) = (f for f in result.findings if f.step == "features-accepted")
    assert (note.severity, note.subject) == (NOTE, BALLOON)
    assert "VIRTIO_BALLOON_F_STATS_VQ" in note.message and "ENODEV" in note.message
    ended = {s.id for s in result.steps if s.subject == REFUSED}
    assert ended == {"reset", "acknowledge", "driver", "features-read", "status-kept", "failed"}


def test_giving_up_without_failed_is_a_warning() -> None:
    result = judge(remove(failures(), status(0x83, REFUSED)), SPEC)
    assert result.verdict == CONFORMS
    (warning,) = (f for f in result.findings if f.severity == WARNING)
    assert (warning.step, warning.subject) == ("failed", REFUSED)
    assert ("failed", REFUSED) not in {(s.id, s.subject) for s in result.steps}


def test_a_legacy_device_has_no_features_ok() -> None:
    steps = {s.id for s in judge(failures(), SPEC).steps if s.subject == LEGACY}
    assert steps == IDS - {"features-ok", "features-accepted", "failed"}


KNOWN = {
    "when the device is registered": ("debian-6.1", "reset", NET),
    "when a driver is unbound": ("debian-6.1-rebind", "reset", NET),
    "sets DRIVER on top of FAILED": ("debian-6.1-refused", "reset", REFUSED),
    "VIRTIO_BALLOON_F_PAGE_POISON": ("debian-6.1-failures", "features-written", BALLOON),
}


@pytest.mark.parametrize("words", KNOWN)
def test_what_linux_is_known_to_do_is_a_note(words: str) -> None:
    name, step, subject = KNOWN[words]
    said = [f for f in judge(golden(name), SPEC).findings if words in f.message]
    assert (step, subject) in {(f.step, f.subject) for f in said}
    assert all(f.severity == NOTE and "known deviation" in f.message for f in said)


def test_a_device_is_restored_without_reading_its_features() -> None:
    result = judge(suspended(), SPEC)
    notes = [f for f in result.findings if "when a device is restored" in f.message]
    assert len(notes) == 3 and {f.step for f in notes} == {"features-read"}
    steps = [s.id for s in result.steps if s.subject == NET]
    assert steps.count("driver-ok") == 2 and steps.count("features-read") == 1


def test_failed_that_is_set_again_when_a_device_is_restored_is_a_note() -> None:
    result = judge(restored_with_failed(), SPEC)
    assert result.verdict == CONFORMS
    (note,) = (f for f in result.findings if "sets FAILED again" in f.message)
    assert (note.severity, note.step, note.subject) == (NOTE, "failed", NET)


def test_a_call_that_had_not_returned_is_unknown() -> None:
    lines = boot()
    stop = next(i for i, line in enumerate(lines) if "seq" in line and at("find_vqs", NET)(line))
    result = judge(mend([*lines[: stop + 1], lines[-1]]), SPEC)
    assert result.verdict == INCOMPLETE
    assert ("driver-ok", NET, None) in {(s.id, s.subject, s.ok) for s in result.steps}


def test_a_call_that_had_not_returned_makes_nothing_right() -> None:
    lines = written(boot(), 11, 11, features="0x10130af8025")
    stop = next(i for i, line in enumerate(lines) if "seq" in line and status(15)(line))
    result = judge(mend([*lines[: stop + 1], lines[-1]]), SPEC)
    assert result.verdict == DEVIATES and errors(result) == {("features-written", NET)}


def test_no_device_is_incomplete() -> None:
    lines = boot()
    assert judge(mend([lines[0], lines[-1]]), SPEC).verdict == INCOMPLETE


def test_a_file_that_could_not_be_read_is_no_concern_of_the_specification() -> None:
    lines = boot()
    lines[0]["evidence"]["unread"] = {"kernel/drivers/net/virtio_net.ko": "is empty"}
    assert judge(lines, SPEC).verdict == CONFORMS
    assert judge(lines).verdict == INCOMPLETE
