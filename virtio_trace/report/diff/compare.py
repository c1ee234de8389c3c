# SPDX-License-Identifier: GPL-2.0-or-later
"""Compares what two recordings show.

Only what follows from the kernel, its devices and its configuration is compared. Not compared,
because it depends on scheduling: virtioN, CPUs, threads, times (but see RATIO), which of two
devices comes first, whether a driver or its device registers first, and how often a probe was
deferred before it was tried for good. The order of calls is compared within one attempt to bind
one device: it is one thread's.
"""

from __future__ import annotations

from collections.abc import Mapping

from virtio_trace.check.findings import Result
from virtio_trace.report.diff import attempts as attempt_rules
from virtio_trace.report.diff import model
from virtio_trace.report.diff.notes import About, Notes, Seqs
from virtio_trace.report.diff.pairs import pairs
from virtio_trace.report.seen import Seen, SeenDevice, SeenDriver
from virtio_trace.report.state import UNKNOWN

Outcomes = dict[str, dict[str, bool | None]]
"""By subject, then by step, whether it passed; None is unknown."""


def outcomes(result: Result) -> Outcomes:
    """The worst outcome of each step of each subject in RESULT."""
    found: Outcomes = {}
    for step in result.steps:
        mine = found.setdefault(step.subject, {})
        both = mine.get(step.id, True), step.ok
        mine[step.id] = False if False in both else None if None in both else True
    return found


def compare(
    old: tuple[str, Seen, Outcomes],
    new: tuple[str, Seen, Outcomes],
    ratio: float | None = None,
    called: tuple[str, str] = ("OLD", "NEW"),
) -> model.Diff:
    """What differs between OLD and NEW, each the name of a recording, what it shows and how the
    steps of the procedure came out. RATIO: a phase that took more than so many times as long is a
    difference. CALLED stands for the recordings in messages."""
    (old_file, before, old_steps), (new_file, after, new_steps) = old, new
    diff = model.Diff(_side(called[0], old_file, before), _side(called[1], new_file, after))
    notes = Notes(diff)
    for side, seen in ((diff.old, before), (diff.new, after)):
        for message in seen.lacks:
            notes.unknown("", "", f"{side.called}: {message}")
    _drivers(notes, before, after)
    common = before.points & after.points
    for one, other in pairs(before.devices, after.devices):
        _device(notes, one, other, before, after)
        if one is not None and other is not None:
            _steps(
                notes,
                other.address,
                old_steps.get(one.address, {}),
                new_steps.get(other.address, {}),
            )
            attempt_rules.compare(notes, one, other, common, ratio)
    names = {driver.name for driver in before.drivers} & {driver.name for driver in after.drivers}
    for name in sorted(names):
        _steps(notes, name, old_steps.get(name, {}), new_steps.get(name, {}))
    order = {kind: place for place, kind in enumerate(model.KINDS)}
    diff.differences.sort(key=lambda one: (order[one.kind], one.subject))
    return diff


def _side(called: str, file: str, seen: Seen) -> model.Side:
    return model.Side(
        called, file, seen.release, seen.machine, len(seen.devices), len(seen.drivers)
    )


def _steps(
    notes: Notes, subject: str, old: Mapping[str, bool | None], new: Mapping[str, bool | None]
) -> None:
    """The steps that both have: one may not have the host's view."""
    about = notes.about(model.STEPS, subject)
    for step in old:
        if step in new:
            about.equal(f"step {step}", _OUTCOMES[old[step]], _OUTCOMES[new[step]])


_OUTCOMES = {True: "passed", False: "failed", None: None}


def _device(
    notes: Notes, old: SeenDevice | None, new: SeenDevice | None, before: Seen, after: Seen
) -> None:
    """Whether the device is in both recordings, at the same address and in the same state."""
    device = new or old
    assert device is not None
    seqs: Seqs = (old.seqs if old else (), new.seqs if new else ())
    about = notes.about(model.DEVICE, device.address, seqs)
    if old is None or new is None:
        sides = notes.diff.old, notes.diff.new
        seen, side = (before, sides[0]) if old is None else (after, sides[1])
        kind = device.type or "unknown"
        if not seen.has_all and device.is_there:
            about.unknown(f"a {kind} device was not seen in {side.called}")
        elif old is None:
            about.differ("there", None, kind, f"a {kind} device is only in {sides[1].called}")
        else:
            about.differ("there", kind, None, f"a {kind} device is only in {sides[0].called}")
        return
    about.equal("address", old.address, new.address)
    about.equal("transport", _known(old.transport), _known(new.transport))
    about.equal("result of registration", old.registered, new.registered)
    _state(notes, old, new)


def _state(notes: Notes, old: SeenDevice, new: SeenDevice) -> None:
    seqs: Seqs = (_last(old), _last(new))
    about = notes.about(model.STATE, new.address, seqs)
    states = _known(old.state), _known(new.state)
    about.equal("state", *states)
    if None not in states:
        about.equal("driver", old.driver or "", new.driver or "")
        about.equal("reason", old.reason or "", new.reason or "")


def _known(word: str) -> str | None:
    return None if word == UNKNOWN else word


def _last(device: SeenDevice) -> tuple[int, ...]:
    return device.attempts[-1].seqs if device.attempts else device.seqs


def _drivers(notes: Notes, before: Seen, after: Seen) -> None:
    old = {driver.name: driver for driver in before.drivers}
    new = {driver.name: driver for driver in after.drivers}
    for name in sorted(old.keys() | new.keys()):
        one, other = old.get(name), new.get(name)
        seqs: Seqs = (one.seqs if one else (), other.seqs if other else ())
        about = notes.about(model.DRIVER, name, seqs)
        if one is not None and other is not None:
            _driver(about, one, other)
        elif (before if one is None else after).lacks:
            side = notes.diff.old if one is None else notes.diff.new
            about.unknown(f"its registration was not seen in {side.called}")
        elif one is None:
            message = f"registered only in {notes.diff.new.called}"
            about.differ("registered", None, name, message)
        else:
            message = f"registered only in {notes.diff.old.called}"
            about.differ("registered", name, None, message)


def _driver(about: About, old: SeenDriver, new: SeenDriver) -> None:
    """What the files of only one kernel say cannot be compared, and is no reason to doubt."""
    for what in ("module", "builtin"):
        values = getattr(old, what), getattr(new, what)
        if None not in values:
            about.equal(what, *values)
    about.equal("result of registration", old.result, new.result)
    about.equal("unregistered", old.ended, new.ended)
    if old.matches and new.matches:
        about.names("id_table", old.matches, new.matches)
