# SPDX-License-Identifier: GPL-2.0-or-later
"""Which device is which of a board's.

An address names its device. Devices that are expected by type are assigned so that as many as
possible are right: a board of two network devices, one with four virtqueues, is met by two of
which one has four, whatever their order. A device is only one of the board's.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Sequence

from virtio_trace.report.board.model import Board, Expected
from virtio_trace.report.board.points import points
from virtio_trace.report.board.points import score as score_of
from virtio_trace.report.seen import SeenDevice


def assign(board: Board, devices: Sequence[SeenDevice]) -> list[list[SeenDevice]]:
    """The devices of each of BOARD's, among DEVICES, which are there at the end."""
    found: list[list[SeenDevice]] = [[] for _ in board.devices]
    at = {device.address: device for device in devices}
    taken = set()
    for number, expected in enumerate(board.devices):
        if expected.address is not None and expected.address in at:
            found[number].append(at[expected.address])
            taken.add(expected.address)
    left: dict[str | None, list[SeenDevice]] = defaultdict(list)
    for device in sorted(devices, key=lambda one: one.address):
        if device.address not in taken:
            left[device.type].append(device)
    numbers: dict[str | None, list[int]] = defaultdict(list)
    for optional in (False, True):
        for number, expected in enumerate(board.devices):
            if expected.address is None and expected.optional is optional:
                numbers[expected.type].append(number)
    for kind, of_kind in numbers.items():
        for number, device in _assigned(board.devices, of_kind, left.get(kind, ())):
            found[number].append(device)
    return found


def _assigned(
    expected: Sequence[Expected], numbers: Sequence[int], devices: Sequence[SeenDevice]
) -> list[tuple[int, SeenDevice]]:
    """Pairs of a number of EXPECTED, of NUMBERS, and one of DEVICES."""
    slots = [n for n in numbers for _ in range(min(expected[n].count, len(devices)))]
    scores = {n: [score_of(points(expected[n], device)) for device in devices] for n in numbers}
    matching = _Matching(len(slots), len(devices))
    for most_unknown in (0, None):
        edges = {
            n: [d for d, one in enumerate(scores[n]) if _fits(one, most_unknown)] for n in numbers
        }
        of_slots = [edges[n] for n in slots]
        for slot in range(len(slots)):
            if matching.device_of[slot] is None:
                matching.augment(slot, of_slots)
    for slot, number in enumerate(slots):
        free = [d for d, owner in enumerate(matching.slot_of) if owner is None]
        if matching.device_of[slot] is None and free:
            matching.pair(slot, min(free, key=lambda d: scores[number][d]))
    return [(slots[s], devices[d]) for s, d in enumerate(matching.device_of) if d is not None]


def _fits(score: tuple[int, int], most_unknown: int | None) -> bool:
    """Whether nothing is wrong, and no more than MOST_UNKNOWN unknown; None: any number."""
    wrong, unknown = score
    return wrong == 0 and (most_unknown is None or unknown <= most_unknown)


class _Matching:
    """A matching in a bipartite graph, made larger by one augmenting path after the other."""

    def __init__(self, slots: int, devices: int) -> None:
        self.device_of: list[int | None] = [None] * slots
        self.slot_of: list[int | None] = [None] * devices

    def pair(self, slot: int, device: int) -> None:
        """Put SLOT and DEVICE together."""
        self.device_of[slot], self.slot_of[device] = device, slot

    def augment(self, slot: int, edges: Sequence[Sequence[int]]) -> None:
        """Find a device for SLOT; other slots may get another one. EDGES are the devices that each
        slot may have."""
        came: dict[int, int] = {}  # the slot from which each device was reached
        queue = deque([slot])
        while queue:
            at = queue.popleft()
            for device in edges[at]:
                if device in came:
                    continue
                came[device] = at
                owner = self.slot_of[device]
                if owner is None:
                    self._flip(device, came, slot)
                    return
                queue.append(owner)

    def _flip(self, device: int, came: dict[int, int], slot: int) -> None:
        at: int | None = device
        while at is not None:
            owner = came[at]
            before = self.device_of[owner] if owner != slot else None
            self.pair(owner, at)
            at = before
