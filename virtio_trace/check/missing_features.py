# SPDX-License-Identifier: GPL-2.0-or-later
"""Which feature a failed negotiation lacks, where the specification or the kernel names it.

A device may refuse FEATURES_OK for any reason. Few features are such that it may refuse to work
without them; if one of these was offered and not written, it is the one that is missing.
"""

from __future__ import annotations

from typing import NamedTuple

from virtio_trace.graph.calls import Call
from virtio_trace.graph.model import Binding
from virtio_trace.virtio import features, numbers

_VERSION_1, _ACCESS_PLATFORM, _ORDER_PLATFORM = 32, 33, 36
_REQUIRED = (_VERSION_1, _ACCESS_PLATFORM, _ORDER_PLATFORM)
"""VirtIO 6.2: "A device MAY fail to operate further if ... is not accepted"."""

_MEM, _MEM_UNPLUGGED_INACCESSIBLE = 24, 1
"""QEMU refuses FEATURES_OK without it (hw/virtio/virtio-mem.c, virtio_mem_validate_features)."""

_NET, _NET_CTRL_VQ = 1, 17
_NEED_CTRL_VQ = sum(1 << bit for bit in (18, 19, 21, 22, 23, 53, 57, 60))
"""CTRL_RX, CTRL_VLAN, GUEST_ANNOUNCE, MQ, CTRL_MAC_ADDR, NOTF_COAL, HASH_REPORT, RSS: VirtIO
5.1.3.1; drivers/net/virtio_net.c, virtnet_validate_features."""


class Missing(NamedTuple):
    """A feature's bit, and in words why the binding needs it."""

    bit: int
    why: str


def missing(subject: Binding) -> list[Missing]:
    """The features that SUBJECT, a binding that failed, lacks; [] if none can be named."""
    found = subject.negotiation
    offered, written = found.offered, found.written
    if offered is None:
        return []
    if _failed(found.features_ok):
        if written is not None:
            return _refused(subject.device.id, offered & ~written)
        return [
            Missing(
                bit, "this kernel requires it of every device, and the device does not offer it"
            )
            for bit in (_VERSION_1, _ACCESS_PLATFORM)
            if not offered >> bit & 1
        ]
    own = found.validate if _failed(found.validate) else subject.probe
    if subject.device.id == _NET and _failed(own) and not offered >> _NET_CTRL_VQ & 1:
        needing = numbers.bits(offered & _NEED_CTRL_VQ)
        names = ", ".join(features.name(_NET, bit) for bit in needing)
        if needing:
            return [Missing(_NET_CTRL_VQ, f"not offered, but needed by {names}; VirtIO 5.1.3.1")]
    return []


def _refused(device: int | None, absent: int) -> list[Missing]:
    """The device refused what was written: of what is ABSENT, that which it may insist on."""
    found = [
        Missing(bit, "offered, not written; VirtIO 6.2 lets a device refuse to work without it")
        for bit in _REQUIRED
        if absent >> bit & 1
    ]
    if device == _MEM and absent >> _MEM_UNPLUGGED_INACCESSIBLE & 1:
        why = "offered, not written; QEMU refuses the features without it"
        found.append(Missing(_MEM_UNPLUGGED_INACCESSIBLE, why))
    return found


def _failed(call: Call | None) -> bool:
    return call is not None and call.result is not None and call.result < 0
