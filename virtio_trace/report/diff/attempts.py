# SPDX-License-Identifier: GPL-2.0-or-later
"""Compares the attempts to bind one device: results, negotiation, virtqueues, calls, times."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from virtio_trace.report.diff import model
from virtio_trace.report.diff.notes import About, Notes, Seqs
from virtio_trace.report.seen import SeenAttempt, SeenCall, SeenDevice, SeenQueue
from virtio_trace.virtio import numbers

_SHOWN_ELSEWHERE = ("set_status", "setup_vq")
"""Calls whose number is compared as status and virtqueues."""


def compare(
    notes: Notes, old: SeenDevice, new: SeenDevice, points: Collection[str], ratio: float | None
) -> None:
    """Compare the attempts to bind OLD and NEW, the same device. POINTS are the probe points that
    were armed in both recordings. RATIO: see compare.compare."""
    subject = new.address
    befores, afters = _settled(old.attempts), _settled(new.attempts)
    seqs: Seqs = (_all_seqs(befores), _all_seqs(afters))
    tried = _drivers(befores), _drivers(afters)
    about = notes.about(model.ATTEMPTS, subject, seqs)
    if tried[0] != tried[1]:
        about.differ("drivers tried", *tried)
    if not befores or not afters:
        notes.about(model.FEATURES, subject).names("negotiated", old.features, new.features)
    _functions(notes.about(model.FUNCTIONS, subject), _named(old, points), _named(new, points))
    _calls(_Place(notes, subject, "registration"), *_seen(points, old.calls, new.calls))
    for number, (before, after) in enumerate(zip(befores, afters, strict=False), 1):
        where = f" (attempt {number})" if max(len(befores), len(afters)) > 1 else ""
        place = _Place(notes, subject, where, (before.seqs, after.seqs))
        _attempt(place, before, after)
        _queues(place, before, after)
        in_probe = _Place(notes, subject, f"probe{where}")
        _calls(in_probe, *_seen(points, before.calls, after.calls))
        if ratio is not None:
            _times(place, _phases(before), _phases(after), ratio)


@dataclass(frozen=True, slots=True)
class _Place:
    """What is compared: an attempt, or the calls of one; ``where`` says so in messages."""

    notes: Notes
    subject: str
    where: str
    seqs: Seqs = ((), ())

    def about(self, kind: str) -> About:
        return self.notes.about(kind, self.subject, self.seqs)


def _drivers(attempts: Sequence[SeenAttempt]) -> list[str]:
    return [one.driver or "?" for one in attempts]


def _all_seqs(attempts: Sequence[SeenAttempt]) -> tuple[int, ...]:
    return tuple(seq for one in attempts for seq in one.seqs)


def _settled(attempts: Sequence[SeenAttempt]) -> list[SeenAttempt]:
    """ATTEMPTS without those that were deferred and then tried again: how many there are depends
    on which driver came first."""
    return [one for one in attempts[:-1] if not one.is_deferred] + [*attempts[-1:]]


def _attempt(place: _Place, old: SeenAttempt, new: SeenAttempt) -> None:
    """Its result, and the negotiation."""
    about, where = place.about(model.ATTEMPTS), place.where
    about.equal(f"result{where}", *_results(old, new))
    if old.result not in (0, None) and new.result not in (0, None):
        about.equal(f"step{where}", old.step or "", new.step or "")
        about.equal(f"reason{where}", old.reason or "", new.reason or "")
    about = place.about(model.FEATURES)
    about.names(f"offered by the device{where}", old.offered, new.offered)
    about.names(f"in the driver's table{where}", old.wanted, new.wanted)
    about.names(f"negotiated{where}", old.negotiated, new.negotiated)
    place.about(model.STATUS).equal(f"status{where}", _status(old), _status(new))


def _results(old: SeenAttempt, new: SeenAttempt) -> list[str | None]:
    """``0``, ``-22 (EINVAL)``."""
    found = []
    for result in (old.result, new.result):
        name = numbers.errno_name(result)
        found.append(None if result is None else f"{result} ({name})" if name else str(result))
    return found


def _status(attempt: SeenAttempt) -> list[str] | None:
    if attempt.status is None:
        return None
    return ["|".join(numbers.status_names(value)) or "0" for value in attempt.status]


def _queues(place: _Place, old: SeenAttempt, new: SeenAttempt) -> None:
    about, where = place.about(model.QUEUES), place.where
    about.equal(f"interrupts{where}", old.interrupts, new.interrupts)
    counts = [None if one.queues is None else len(one.queues) for one in (old, new)]
    about.equal(f"number of virtqueues{where}", *counts)
    befores = {queue.index: queue for queue in old.queues or ()}
    for queue in new.queues or ():
        before = befores.get(queue.index)
        if before is not None:
            about.equal(f"virtqueue {queue.index}{where}", _queue(before), _queue(queue))


def _queue(queue: SeenQueue) -> str:
    size = "unknown" if queue.size is None else queue.size
    vector = "no vector" if queue.vector is None else f"vector {queue.vector}"
    return f"{queue.name or 'without a name'} of size {size} with {vector}"


_Calls = list[SeenCall]


def _seen(
    points: Collection[str], old: Sequence[SeenCall], new: Sequence[SeenCall]
) -> tuple[_Calls, _Calls]:
    """The calls that both recordings can show."""
    return [c for c in old if _probe(c) in points], [c for c in new if _probe(c) in points]


def _calls(place: _Place, old: _Calls, new: _Calls) -> None:
    """The calls of one thread: which there are, and in which order."""
    words = [call.words for call in old], [call.words for call in new]
    counts = Counter(words[0]), Counter(words[1])
    seqs: Seqs = (tuple(call.seq for call in old), tuple(call.seq for call in new))
    about = replace(place, seqs=seqs).about(model.ORDER)
    if counts[0] == counts[1]:
        if words[0] != words[1]:
            about.differ(f"order of calls in {place.where}", *words)
        return
    for call in dict.fromkeys([*words[0], *words[1]]):
        times = counts[0][call], counts[1][call]
        if times[0] != times[1] and call.split()[0] not in _SHOWN_ELSEWHERE:
            message = f"{call} in {place.where}: {times[0]} calls, now {times[1]}"
            about.differ(call, *times, message)


def _functions(about: About, old: dict[str, list[str]], new: dict[str, list[str]]) -> None:
    """The kernel's functions by probe point: a name that changed is said to be one."""
    for probe in sorted(old.keys() & new.keys()):
        before, after = old[probe], new[probe]
        if before != after:
            message = f"{probe}: the function was {', '.join(before)}, is now {', '.join(after)}"
            about.differ(probe, before, after, message)


def _named(device: SeenDevice, points: Collection[str]) -> dict[str, list[str]]:
    found: dict[str, set[str]] = {}
    every = [*device.calls, *(call for one in device.attempts for call in one.calls)]
    for call in every:
        if _probe(call) in points:
            found.setdefault(_probe(call), set()).add(_function(call.symbol))
    for one in device.attempts:
        if one.symbol is not None:
            found.setdefault(f"probe of {one.driver}", set()).add(_function(one.symbol))
    return {probe: sorted(names) for probe, names in found.items()}


def _function(symbol: str) -> str:
    """The name without the module: built in or not is a difference of the driver."""
    return symbol.partition(" [")[0]


def _probe(call: SeenCall) -> str:
    return call.words.partition(" ")[0]


def _times(place: _Place, old: dict[str, int], new: dict[str, int], ratio: float) -> None:
    about = place.about(model.TIME)
    for name, before in old.items():
        after = new.get(name, 0)
        if before and after > ratio * before:
            message = (
                f"{name}{place.where} took {after / 1e6:.3f} ms, {after / before:.1f} times "
                f"as long as {before / 1e6:.3f} ms"
            )
            about.differ(f"{name}{place.where}", before, after, message)


def _phases(attempt: SeenAttempt) -> dict[str, int]:
    whole = attempt.duration_ns
    return attempt.phases | ({"virtio_dev_probe": whole} if whole is not None else {})
