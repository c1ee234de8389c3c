# SPDX-License-Identifier: GPL-2.0-or-later
"""One device against what a board expects of it: a point for each key."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from virtio_trace.check import board_steps as steps
from virtio_trace.report.board.model import Expected
from virtio_trace.report.seen import SeenDevice
from virtio_trace.report.state import BOUND, UNKNOWN


@dataclass(frozen=True, slots=True)
class Point:
    """The result of one step. ``ok`` is None if it is unknown; ``message`` says what is wrong or
    unknown; ``seqs`` are the events that show it."""

    step: str
    ok: bool | None
    message: str = ""
    seqs: tuple[int, ...] = ()


def points(expected: Expected, device: SeenDevice) -> list[Point]:
    """How DEVICE, which is there at the end, compares with EXPECTED."""
    found = []
    if expected.address is not None and expected.type is not None:
        found.append(_equal(steps.TYPE, "type", expected.type, device.type, device))
    if expected.transport is not None:
        seen = None if device.transport == UNKNOWN else device.transport
        found.append(_equal(steps.TRANSPORT, "transport", expected.transport, seen, device))
    found.append(_state(expected, device))
    if expected.state != BOUND:
        return found
    for key, (step, judge) in _OF_A_BINDING.items():
        if getattr(expected, key) not in (None, ()):
            if device.state == BOUND:
                found.append(Point(step, *judge(expected, device)))
            else:
                found.append(Point(step, None, f"not judged: {device.address} is not bound"))
    return found


_Answer = tuple[bool | None, str, tuple[int, ...]]


def _equal(step: str, what: str, wanted: str, seen: str | None, device: SeenDevice) -> Point:
    if seen is None:
        return Point(step, None, f"the {what} is unknown")
    ok = seen == wanted
    return Point(step, ok, "" if ok else f"the {what} is {seen}, not {wanted}", device.seqs)


def _state(expected: Expected, device: SeenDevice) -> Point:
    if device.state == expected.state:
        return Point(steps.STATE, True)
    reason = f": {device.reason}" if device.reason else ""
    if device.state == UNKNOWN:
        return Point(steps.STATE, None, f"the state is unknown{reason}")
    last = device.attempts[-1].seqs if device.attempts else ()
    driver = f" to {device.driver}" if device.driver else ""
    message = f"the device is {device.state}{driver}, not {expected.state}{reason}"
    return Point(steps.STATE, False, message, last or device.seqs)


def _driver(expected: Expected, device: SeenDevice) -> _Answer:
    seqs = device.bound.seqs if device.bound else device.seqs
    message = f"the driver is {device.driver}, not {expected.driver}"
    return (True, "", ()) if device.driver == expected.driver else (False, message, seqs)


def _features(expected: Expected, device: SeenDevice) -> _Answer:
    if device.features is None:
        return None, "the negotiated features are unknown", ()
    missing = [name for name in expected.features if name not in device.features]
    if not missing:
        return True, "", ()
    why = "; ".join(_why_not(device, name) for name in missing)
    return False, f"not negotiated: {why}", _seqs(device)


def _why_not(device: SeenDevice, name: str) -> str:
    bound = device.bound
    if bound is not None and bound.offered is not None and name not in bound.offered:
        return f"{name} (the device does not offer it)"
    if bound is not None and bound.wanted is not None and name not in bound.wanted:
        return f"{name} (it is not in the driver's table)"
    return name


def _without(expected: Expected, device: SeenDevice) -> _Answer:
    if device.features is None:
        return None, "the negotiated features are unknown", ()
    there = [name for name in expected.without if name in device.features]
    return (False, f"negotiated: {', '.join(there)}", _seqs(device)) if there else (True, "", ())


def _queues(expected: Expected, device: SeenDevice) -> _Answer:
    queues = device.bound.queues if device.bound else None
    return _at_least("virtqueue", expected.queues, None if queues is None else len(queues), device)


def _vectors(expected: Expected, device: SeenDevice) -> _Answer:
    queues = device.bound.queues if device.bound else None
    if queues is None:
        return _at_least("MSI-X vector", expected.vectors, None, device)
    vectors = {queue.vector for queue in queues if queue.vector is not None}
    return _at_least("MSI-X vector", expected.vectors, len(vectors), device)


def _at_least(what: str, wanted: int | None, seen: int | None, device: SeenDevice) -> _Answer:
    if seen is None:
        return None, f"the number of {what}s is unknown", ()
    if seen >= (wanted or 0):
        return True, "", ()
    return False, f"{seen} {what}{'' if seen == 1 else 's'}, not {wanted} or more", _seqs(device)


def _probe_ms(expected: Expected, device: SeenDevice) -> _Answer:
    took, most = device.bound.duration_ns if device.bound else None, expected.probe_ms
    if took is None or most is None:
        return None, "how long virtio_dev_probe took is unknown", ()
    if took <= most * 1e6:
        return True, "", ()
    message = f"virtio_dev_probe took {took / 1e6:.3f} ms, more than {most:g} ms"
    return False, message, _seqs(device)


def _seqs(device: SeenDevice) -> tuple[int, ...]:
    return device.bound.seqs if device.bound else ()


_OF_A_BINDING: dict[str, tuple[str, Callable[[Expected, SeenDevice], _Answer]]] = {
    "driver": (steps.DRIVER, _driver),
    "features": (steps.FEATURES, _features),
    "without": (steps.WITHOUT, _without),
    "queues": (steps.QUEUES, _queues),
    "vectors": (steps.VECTORS, _vectors),
    "probe_ms": (steps.PROBE_TIME, _probe_ms),
}
"""The keys that a device without a driver cannot be held to."""


def score(found: list[Point]) -> tuple[int, int]:
    """How bad it is: how many points are wrong, how many unknown."""
    return sum(point.ok is False for point in found), sum(point.ok is None for point in found)
