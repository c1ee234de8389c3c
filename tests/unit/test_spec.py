# SPDX-License-Identifier: GPL-2.0-or-later
"""Profile spec: each rule has a cut of a real recording that it condemns.

A rule that no recording can violate is no rule; see tests/golden/README.md for the recordings.
"""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from tests.unit.surgery import Line, Where, at, change, dump, golden, judge, mend, move, remove
from virtio_trace import check, graph, recording, spec
from virtio_trace.errors import BadInputError
from virtio_trace.findings import (
    CONFORMS,
    DEVIATES,
    ERROR,
    INCOMPLETE,
    NOTE,
    SPEC,
    WARNING,
    Result,
)

NET, REFUSED, LEGACY, BALLOON = (f"0000:00:0{number}.0" for number in (2, 3, 4, 5))
"""Of debian-6.1-failures, from the second on; NET is the same in all recordings."""

CONFORMING = ("debian-6.1", "debian-6.1-rebind", "debian-6.1-failures", "debian-6.1-refused",
              "debian-6.1-suspend")  # fmt: skip
IDS = {step.id for step in spec.STEPS}

Cut = Callable[[], list[Line]]


def status(value: int, address: str = NET) -> Where:
    """The writes of one status to one device."""
    writes = at("set_status", address)
    return lambda line: writes(line) and line["detail"]["status"] == value


def written(lines: list[Line], value: int, to: int, address: str = NET, **more: str) -> list[Line]:
    """With another status, or other features, where VALUE was written."""
    (features,) = {line["detail"]["features"] for line in lines if status(value, address)(line)}
    detail = {"status": to, "features": features, **more}
    return change(lines, status(value, address), detail=detail)


def boot() -> list[Line]:
    return golden("debian-6.1")


def failures() -> list[Line]:
    return golden("debian-6.1-failures")


def nth(where: Where, number: int, lines: list[Line]) -> Where:
    """The NUMBERth one, counted from 0, of the events for which WHERE is true."""
    seq = [line["seq"] for line in lines if "seq" in line and where(line)][number]
    return lambda line: line["seq"] == seq


def copied(lines: list[Line], where: Where, behind: Where) -> list[Line]:
    """With the events for which WHERE is true once more, behind another."""
    place = max(i for i, line in enumerate(lines) if "seq" in line and behind(line))
    again = [line for line in lines if "seq" in line and where(line)]
    return mend([*lines[: place + 1], *again, *lines[place + 1 :]])


def unbound_without_reset() -> list[Line]:
    lines = golden("debian-6.1-rebind")
    return remove(lines, nth(at("reset", NET), 1, lines))


def failed_and_bound_without_failed() -> list[Line]:
    """The second binding after a failed one as if FAILED were gone, with no reset."""
    lines = golden("debian-6.1-refused")
    return change(lines, nth(status(0x83, REFUSED), 1, lines), detail={"status": 3})


def set_on_failed_by_others() -> list[Line]:
    """FAILED set before anything else, without the virtio_dev_probe of a binding before."""
    lines = written(boot(), 3, 0x83)
    return written(written(lines, 11, 0x8B), 15, 0x8F)


def without_acknowledge() -> list[Line]:
    lines = remove(boot(), status(1))
    return written(written(written(lines, 3, 2), 11, 10), 15, 14)


def without_driver() -> list[Line]:
    return written(written(remove(boot(), status(3)), 11, 9), 15, 13)


def bound_by_nothing() -> list[Line]:
    """virtio_dev_probe returned 0, and all that it did was to set DRIVER."""
    shown = ("get_features", "virtio_features_ok", "setup_vq", "find_vqs", "find_vqs_msix")
    lines = boot()
    for where in (status(11), status(15), *(at(probe, NET) for probe in shown)):
        lines = remove(lines, where)
    return lines


def suspended() -> list[Line]:
    return golden("debian-6.1-suspend")


def restored(lines: list[Line], value: int) -> Where:
    """The status write of VALUE when NET was restored."""
    return nth(status(value), 1, lines)


def restored_with_failed() -> list[Line]:
    """As virtio_device_restore does it for a device that had FAILED."""
    lines = suspended()
    for value in (3, 11, 15):
        detail = {"status": value | 0x80, "features": "0x10130af8024"}
        lines = change(lines, nth(status(value), -1, lines), detail=detail)
    return lines


VIOLATIONS: dict[str, tuple[str, str, Cut]] = {
    "no reset": ("reset", NET, lambda: remove(boot(), at("reset", NET))),
    "reset behind ACKNOWLEDGE": (
        "acknowledge", NET, lambda: move(boot(), at("reset", NET), status(1))),
    "bound again without reset": ("reset", NET, unbound_without_reset),
    "bound again after FAILED": ("reset", REFUSED, failed_and_bound_without_failed),
    "no ACKNOWLEDGE": ("acknowledge", NET, lambda: remove(boot(), status(1))),
    "DRIVER without ACKNOWLEDGE": (
        "acknowledge", NET, lambda: written(remove(boot(), status(1)), 3, 2)),
    "ACKNOWLEDGE behind DRIVER": ("acknowledge", NET, lambda: move(boot(), status(1), status(3))),
    "ACKNOWLEDGE with DRIVER": ("acknowledge", NET, lambda: written(boot(), 1, 3)),
    "never ACKNOWLEDGE": ("acknowledge", NET, without_acknowledge),
    "never DRIVER": ("driver", NET, without_driver),
    "bound without any features": ("features-read", NET, bound_by_nothing),
    "restored without a reset": (
        "status-kept", NET, lambda: remove(suspended(), lambda line: at("reset", NET)(line)
                                           and line["seq"] > 208)),
    "restored without DRIVER_OK": (
        "driver-ok", NET, lambda: remove(suspended(), restored(suspended(), 15))),
    "restored without FEATURES_OK": (
        "features-ok", NET, lambda: remove(suspended(), restored(suspended(), 11))),
    "no DRIVER": ("driver", NET, lambda: remove(boot(), status(3))),
    "DRIVER with FEATURES_OK": ("driver", NET, lambda: written(boot(), 3, 11)),
    "DRIVER behind the features": (
        "driver", NET, lambda: move(boot(), status(3), at("get_features", NET))),
    "features not read": ("features-read", NET, lambda: remove(boot(), at("get_features", NET))),
    "features read behind FEATURES_OK": (
        "features-read", NET, lambda: move(boot(), at("get_features", NET), status(11))),
    "features of a legacy device not read": (
        "features-read", LEGACY, lambda: remove(failures(), at("get_features", LEGACY))),
    "a feature that is not offered": (
        "features-written", NET, lambda: written(boot(), 11, 11, features="0x10130af8025")),
    "a feature that a legacy device does not offer": (
        "features-written", LEGACY,
        lambda: written(failures(), 7, 7, LEGACY, features="0x38af8067")),
    "VIRTIO_F_VERSION_1 not accepted": (
        "features-written", NET, lambda: written(boot(), 11, 11, features="0x10030af8024")),
    "no FEATURES_OK": ("features-ok", NET, lambda: remove(boot(), status(11))),
    "never FEATURES_OK": (
        "features-ok", NET, lambda: written(remove(boot(), status(11)), 15, 7)),
    "FEATURES_OK behind the virtqueues": (
        "features-ok", NET, lambda: move(boot(), status(11), at("setup_vq", NET))),
    "FEATURES_OK of a legacy device": (
        "features-ok", LEGACY, lambda: written(failures(), 7, 15, LEGACY)),
    "another feature behind FEATURES_OK": (
        "features-ok", NET, lambda: written(boot(), 15, 15, features="0x10130bf8024")),
    "FEATURES_OK not read again": (
        "features-accepted", NET, lambda: remove(boot(), at("virtio_features_ok", NET))),
    "FEATURES_OK read again behind the virtqueues": (
        "features-accepted", NET,
        lambda: move(boot(), at("virtio_features_ok", NET), status(15))),
    "features refused, and on": (
        "features-accepted", NET,
        lambda: change(boot(), at("virtio_features_ok", NET, kind="return"), result=-19)),
    "no virtqueue": ("device-setup", NET, lambda: remove(boot(), at("setup_vq", NET))),
    "virtqueues behind DRIVER_OK": (
        "device-setup", NET, lambda: move(boot(), at("setup_vq", NET), status(15))),
    "no DRIVER_OK": ("driver-ok", NET, lambda: remove(boot(), status(15))),
    "no DRIVER_OK of a legacy device": (
        "driver-ok", LEGACY, lambda: remove(failures(), status(7, LEGACY))),
    "a step behind DRIVER_OK": (
        "driver-ok", NET, lambda: copied(boot(), at("get_features", NET), status(15))),
    "DRIVER cleared": ("status-kept", NET, lambda: written(boot(), 11, 9)),
    "FEATURES_OK cleared": ("status-kept", NET, lambda: written(boot(), 15, 7)),
    "unbound by clearing": ("status-kept", NET, unbound_without_reset),
    "on after FAILED": ("failed", NET, set_on_failed_by_others),
}  # fmt: skip


def errors(result: Result) -> set[tuple[str, str]]:
    return {(f.step, f.subject) for f in result.findings if f.severity == ERROR}


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
            read = recording.read(whole[:number] + whole[number + 1 :], name)
        except BadInputError:
            assert number == 0
            continue
        assert check.check(graph.build(read), SPEC).verdict == INCOMPLETE, f"line {number + 1}"


MATTERS = ("reset", "set_status", "get_features", "virtio_features_ok")


def asked_for(event: Line, lines: list[Line]) -> bool:
    """Whether a rule asks for EVENT: for all but an ACKNOWLEDGE that nothing follows, or a reset,
    and one of two resets without anything between them."""
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
    """As if the kernel had not called it: nothing says that an event was lost."""
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
    """A device of a transport without probe points, as ccw's are."""
    lines = remove(boot(), at("reset", NET))
    for line in lines:
        if line.get("device", {}).get("address") == NET:
            line["device"]["bus"] = "ccw"
    assert judge(lines, SPEC).verdict == INCOMPLETE


def test_what_was_there_before_is_unknown() -> None:
    """6.12 has the core built in: reset and ACKNOWLEDGE came before the recording."""
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
    """As if the recording had begun at the event for which FIRST is true, and NET was there."""
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
    result = judge(remove(lines, status(3)), SPEC)  # not armed yet when it was written
    assert NET not in {subject for _, subject in errors(result)}
    assert {s.ok for s in result.steps if s.subject == NET} == {None}


def test_on_failed_with_more_than_driver_the_rest_is_not_judged() -> None:
    """As virtio_blk leaves a device whose probe failed behind FEATURES_OK."""
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
