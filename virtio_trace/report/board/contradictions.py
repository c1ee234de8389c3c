# SPDX-License-Identifier: GPL-2.0-or-later
"""What a board cannot expect of one device, because no device could have it."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection

from virtio_trace.report.board.model import Expected
from virtio_trace.report.state import BOUND
from virtio_trace.virtio import features, numbers

_PCI = re.compile(r"[0-9a-f]{4,8}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]")
_MMIO = re.compile(r".*\bvirtio[_-]mmio\b.*")
_VERSION_1 = features.COMMON[numbers.F_VERSION_1]
_OF_A_BINDING = ("driver", "features", "without", "queues", "vectors", "probe_ms")
_BIT = re.compile(r"bit ([0-9]{1,3})")

Found = tuple[str, str]
"""The key to blame, "" for the whole device, and what is wrong."""


def of(expected: Expected, keys: Collection[str]) -> Found | None:
    """What is contradictory in EXPECTED, of which the file has KEYS; None if nothing is."""
    if expected.address is None and expected.type is None:
        return "", "a device needs an address or a type"
    if expected.address is not None and "count" in keys:
        return "count", f"one device is at {expected.address}: count is for a type"
    if expected.state != BOUND:
        for key in _OF_A_BINDING:
            if key in keys:
                return key, f"{key} is of a bound device, but state is {expected.state}"
    both = [name for name in expected.features if name in expected.without]
    if both:
        return "without", f"{both[0]} is in features, too"
    return _transport(expected) or _unknown_feature(expected)


def _transport(expected: Expected) -> Found | None:
    """What does not go with its transport."""
    transport, address = expected.transport, expected.address or ""
    of_pci = transport is not None and transport.startswith("pci-")
    if transport is not None and _PCI.fullmatch(address) and not of_pci:
        return "transport", f"{address} is a PCI address, its transport is not {transport}"
    if transport is not None and _MMIO.fullmatch(address) and transport != "mmio":
        return "transport", f"{address} is a virtio-mmio address, its transport is not {transport}"
    if expected.vectors is not None and transport in ("mmio", "ccw"):
        return "vectors", f"a device on {transport} has no MSI-X vectors"
    if transport == "pci-legacy" and _VERSION_1 in expected.features:
        return "features", f"a legacy device has no {_VERSION_1} (VirtIO 6)"
    if transport == "pci-modern" and _VERSION_1 in expected.without:
        return "without", f"a modern device needs {_VERSION_1} (vp_finalize_features)"
    return None


def _unknown_feature(expected: Expected) -> Found | None:
    """A feature that no device of its type has."""
    ids = [n for n, name in numbers.DEVICE_TYPES.items() if expected.type in (None, name)]
    if not ids:
        return None  # a type without a name: what features it has is unknown
    known = {*features.COMMON.values()}.union(
        *(features.DEVICES.get(number, {}).values() for number in ids)
    )
    for key in ("features", "without"):
        for name in getattr(expected, key):
            if name not in known and not _BIT.fullmatch(name):
                kind = f"device of type {expected.type}" if expected.type else "device"
                close = difflib.get_close_matches(name[:64], sorted(known), 1)
                meant = f"; {close[0]}?" if close else ""
                return key, f"no {kind} has a feature {name[:64]}{meant}"
    return None
