# SPDX-License-Identifier: GPL-2.0-or-later
"""Empty virtio-mmio slots. A board may have many (QEMU's arm64 virt has 32).

An empty slot has device ID 0 (VirtIO 4.2.3.1.1): virtio_mmio_probe returns -ENODEV and logs
nothing. For a wrong magic value it also returns -ENODEV, but logs it. For all other errors it
returns another errno (drivers/virtio/virtio_mmio.c).
"""

from __future__ import annotations

from virtio_trace.graph.model import Device, Graph

UNKNOWN = "an empty slot, or a wrong magic value: the recording has no kernel log that would tell"


def has_log(graph: Graph) -> bool:
    """Whether the recording has the complete kernel log."""
    trailer = graph.recording.trailer
    return trailer is not None and trailer.log is not None and not trailer.log.lost


class EmptySlots:
    """The slots known to be empty; they are no devices. In the order of their probes."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._has_log = has_log(graph)
        self.found: list[Device] = []

    def take(self, device: Device) -> bool:
        """Whether DEVICE is such a slot."""
        if not (device.maybe_empty and self._has_log) or self._graph.log.get(device.address):
            return False
        self.found.append(device)
        self._graph.buses[device.bus] -= 1
        return True

    def end(self) -> None:
        """Take those that the graph still has."""
        graph = self._graph
        graph.devices = [device for device in graph.devices if not self.take(device)]
        self.found.sort(key=lambda device: device.order)
