# SPDX-License-Identifier: GPL-2.0-or-later
"""Slots of virtio-mmio that have no device: a board has them ready (QEMU's arm64 virt has 32).

Such a slot has the device ID 0 (VirtIO 4.2.3.1.1), at which virtio_mmio_probe ends with -ENODEV and
without a word; it ends so too where the magic value is wrong, and then the kernel's log has that
(drivers/virtio/virtio_mmio.c). All other endings of it have another errno.
"""

from __future__ import annotations

from errno import ENODEV

from virtio_trace.graph.model import Device, Graph
from virtio_trace.virtio.transports import MMIO

UNKNOWN = "an empty slot, or a wrong magic value: the recording has no kernel log to tell"


def maybe_empty(device: Device) -> bool:
    """Whether the transport's probe ended as it does for an empty slot."""
    call = device.transport
    return (
        call is not None
        and call.event.probe == MMIO.probe
        and call.result == -ENODEV
        and device.register is None
    )


def has_log(graph: Graph) -> bool:
    """Whether what the recording has of the kernel's log is all there was."""
    trailer = graph.recording.trailer
    return trailer is not None and trailer.log is not None and not trailer.log.lost


def take_out(graph: Graph) -> None:
    """An empty slot is no device: those that are known to be empty go from ``devices`` to
    ``empty_slots``."""
    if not has_log(graph):
        return
    empty = [d for d in graph.devices if maybe_empty(d) and not graph.log.get(d.address)]
    graph.empty_slots = empty
    graph.devices = [device for device in graph.devices if device not in empty]
