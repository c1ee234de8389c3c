# SPDX-License-Identifier: GPL-2.0-or-later
"""Empty virtio-mmio slots. A board may have many (QEMU's arm64 virt has 32).

An empty slot has device ID 0 (VirtIO 4.2.3.1.1): virtio_mmio_probe returns -ENODEV and logs
nothing. For a wrong magic value it also returns -ENODEV, but logs it. For all other errors it
returns another errno (drivers/virtio/virtio_mmio.c).
"""

from __future__ import annotations

from dataclasses import replace
from errno import ENODEV

from virtio_trace.graph.model import Device, Graph
from virtio_trace.virtio.transports import MMIO

UNKNOWN = "an empty slot, or a wrong magic value: the recording has no kernel log that would tell"


def maybe_empty(device: Device) -> bool:
    """Whether the transport's probe returned the errno it returns for an empty slot."""
    call = device.transport
    return (
        call is not None
        and call.event.probe == MMIO.probe
        and call.result == -ENODEV
        and device.register is None
    )


def has_log(graph: Graph) -> bool:
    """Whether the recording has the complete kernel log."""
    trailer = graph.recording.trailer
    return trailer is not None and trailer.log is not None and not trailer.log.lost


def set_aside(graph: Graph) -> tuple[Graph, list[Device]]:
    """Return GRAPH without the slots known to be empty, and those slots."""
    if not has_log(graph):
        return graph, []
    empty = [d for d in graph.devices if maybe_empty(d) and not graph.log.get(d.address)]
    aside = set(map(id, empty))
    return replace(graph, devices=[d for d in graph.devices if id(d) not in aside]), empty
