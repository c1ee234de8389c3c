# SPDX-License-Identifier: GPL-2.0-or-later
"""What a recording shows, held against a board: steps and findings for the result of a check."""

from __future__ import annotations

from virtio_trace.check import board_steps as steps
from virtio_trace.check.expectations import Expectations
from virtio_trace.check.scope import BUS
from virtio_trace.report.board.assign import assign
from virtio_trace.report.board.model import Board, Expected
from virtio_trace.report.board.points import Point, points
from virtio_trace.report.seen import Seen, SeenDevice


def judge(board: Board, seen: Seen) -> Expectations:
    """The steps of BOARD, in its order, for what was SEEN."""
    found = Expectations(seen.last_seq)
    if board.kernel:
        ok = board.has_kernel(seen.release)
        message = f"the kernel is {seen.release}, not {' or '.join(board.kernel)}"
        _add(found, BUS, Point(steps.KERNEL, ok, message))
    there = [device for device in seen.devices if device.is_there]
    assigned = assign(board, there)
    for expected, devices in zip(board.devices, assigned, strict=True):
        for device in devices:
            _add(found, device.address, Point(steps.DEVICE, True))
            for point in points(expected, device):
                _add(found, device.address, point)
        if len(devices) < expected.count and not expected.optional:
            _add(found, expected.subject, _missing(expected, len(devices), seen))
    if board.only:
        known = {device.address for devices in assigned for device in devices}
        _only(found, [device for device in there if device.address not in known], seen)
    return found


def _missing(expected: Expected, number: int, seen: Seen) -> Point:
    if expected.address is None:
        message = f"{expected.count} of type {expected.type} expected, {number} there"
        gone = [one for one in seen.devices if one.type == expected.type and not one.is_there]
    else:
        message = f"no virtio device at {expected.address}"
        gone = [one for one in seen.devices if one.address == expected.address]
    if gone:
        message += f"; removed: {', '.join(dict.fromkeys(one.address for one in gone))}"
    if not seen.has_all:
        return Point(steps.DEVICE, None, f"{message}, or it was not seen")
    return Point(steps.DEVICE, False, message, tuple(s for one in gone for s in one.seqs))


def _only(found: Expectations, others: list[SeenDevice], seen: Seen) -> None:
    for device in others:
        message = f"not on the board: a device of type {device.type or 'unknown'}"
        _add(found, device.address, Point(steps.ONLY, False, message, device.seqs))
    if others:
        return
    message = "whether other virtio devices are there is unknown"
    _add(found, BUS, Point(steps.ONLY, True if seen.has_all else None, message))


def _add(found: Expectations, subject: str, point: Point) -> None:
    found.add(point.step, subject, point.ok, point.message, point.seqs)
