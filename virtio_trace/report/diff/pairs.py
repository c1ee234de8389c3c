# SPDX-License-Identifier: GPL-2.0-or-later
"""Which device of one recording is which of the other.

A device is the one of the same type that came at the same address as often before it. What is left
is paired by type, in order of address: those devices have moved.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable

from virtio_trace.report.seen import SeenDevice

Pair = tuple[SeenDevice | None, SeenDevice | None]
"""A device of the old recording and one of the new; None if there is none."""


def pairs(old: Iterable[SeenDevice], new: Iterable[SeenDevice]) -> list[Pair]:
    """Every device of OLD and NEW in one pair, in order of address."""
    found: list[Pair] = []
    left_old, left_new = [*old], [*new]
    for key in (_exactly, _by_type):
        pairs_found, left_old, left_new = _paired(left_old, left_new, key)
        found += pairs_found
    found += [(device, None) for device in left_old]
    found += [(None, device) for device in left_new]
    return sorted(found, key=_place)


def _exactly(device: SeenDevice) -> Hashable:
    return device.address, device.nth, device.type


def _by_type(device: SeenDevice) -> Hashable:
    """Removed devices and those that are there are not taken for each other."""
    return device.type, device.is_there


def _paired(
    old: list[SeenDevice], new: list[SeenDevice], key: Callable[[SeenDevice], Hashable]
) -> tuple[list[Pair], list[SeenDevice], list[SeenDevice]]:
    """Pairs of equal keys, and what is left of OLD and NEW."""
    waiting: dict[Hashable, list[SeenDevice]] = defaultdict(list)
    for device in sorted(new, key=_address, reverse=True):
        waiting[key(device)].append(device)
    found: list[Pair] = []
    left = []
    for device in sorted(old, key=_address):
        same = waiting[key(device)]
        if same:
            found.append((device, same.pop()))
        else:
            left.append(device)
    return found, left, [device for devices in waiting.values() for device in devices]


def _address(device: SeenDevice) -> tuple[str, int]:
    return device.address, device.nth


def _place(pair: Pair) -> tuple[str, int]:
    device = pair[1] or pair[0]
    assert device is not None
    return _address(device)
