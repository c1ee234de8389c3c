# SPDX-License-Identifier: GPL-2.0-or-later
"""One kernel for all harnesses: the structs of Linux 6.1, and a target for every probe point."""

from __future__ import annotations

from tests.unit.tracer.ftrace.test_fetchargs import LINUX_6_1
from virtio_trace.kernel.drivers.layout import Layout, StructLayout, by_order
from virtio_trace.recording.evidence import Evidence
from virtio_trace.tracer.ftrace.definitions import definitions
from virtio_trace.tracer.points import table
from virtio_trace.tracer.points.offline import OfflineKernel
from virtio_trace.tracer.points.resolve import ResolvedProbe
from virtio_trace.tracer.points.target import Target

_MODULES = {"virtio_pci_probe": "virtio_pci", "virtio_mmio_probe": "virtio_mmio"}
PROBES = [
    ResolvedProbe(point, Target(point.symbols[0], _MODULES.get(point.name)))
    for point in (*table.CORE_POINTS, *table.NEGOTIATION_POINTS, table.VRING_POINT)
]
KERNEL = OfflineKernel(
    "6.1", "x86_64", ("virtio",), Evidence("6.1", builtin=("virtio",)), LINUX_6_1, PROBES
)
DEFINITIONS = definitions(PROBES, LINUX_6_1, "x86_64")

LAYOUT = Layout(
    {
        "virtio_driver": by_order(144),
        "pci_driver": StructLayout(296, 16, 24, {"probe": 32, "remove": 40}),
        "platform_driver": StructLayout(208, 48, 192, {"probe": 0, "remove": 8}),
    },
    40,
)
"""As from_btf reads it from Debian's 6.1, without functions that no harness needs."""
