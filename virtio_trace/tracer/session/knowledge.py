# SPDX-License-Identifier: GPL-2.0-or-later
"""What a recorder reads of the running kernel before it arms anything."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from virtio_trace.kernel.drivers.evidence import Symbols, functions_of, read_evidence
from virtio_trace.kernel.drivers.in_memory import KernelView, Links, add_registered
from virtio_trace.kernel.files.btf import Btf
from virtio_trace.kernel.files.module_tree import ModuleTree
from virtio_trace.kernel.running.host import HostKernel
from virtio_trace.kernel.running.proc_kallsyms import of_module
from virtio_trace.recording.evidence import Evidence
from virtio_trace.tracer.bpf.offsets import read_offsets
from virtio_trace.tracer.bpf.wire import WireOffsets
from virtio_trace.tracer.points import table
from virtio_trace.tracer.points.offline import GET_COOKIE
from virtio_trace.tracer.points.resolve import STEXT, ResolvedProbe, resolve
from virtio_trace.tracer.points.struct_offsets import struct_offsets
from virtio_trace.tracer.session.phases import PhaseClock


@dataclass(frozen=True, slots=True)
class Knowledge:
    """What the kernel's files and memory say. ``offsets`` are those of the BPF program, ``members``
    those of fetch arguments, in bytes; ``cookies``: BPF programs can ask for a cookie (Linux 5.15);
    ``seconds`` is the time that each phase of reading took."""

    evidence: Evidence
    offsets: WireOffsets
    probes: list[ResolvedProbe]
    members: dict[str, int]
    cookies: bool
    seconds: dict[str, float]


def learn(host: HostKernel, tracefs: Path) -> Knowledge:
    """Read the running kernel. Raises CannotTraceError and BadInputError."""
    clock = PhaseClock()
    tree = ModuleTree(host.module_tree)
    symbols = Symbols(tree)
    with clock.phase("the kernel's BTF and module files"):
        btf = Btf.running()
        evidence = read_evidence(tree, btf, symbols, host.machine)
        offsets = read_offsets(btf, symbols, tracefs)
    with clock.phase("kallsyms"):
        addresses = host.addresses()
    with clock.phase("drivers without a file"):
        shape = symbols.layout.structs.get("virtio_driver") if symbols.layout else None
        kernel = KernelView(tree, lambda: Links.from_btf(btf), addresses, shape)
        evidence = add_registered(evidence, kernel)
    points = table.points(evidence)
    with clock.phase("kallsyms"):
        names = {symbol for point in points for symbol in point.symbols} | {GET_COOKIE}
        found = addresses.functions({*names, STEXT})
    probes = resolve(points, of_module(found, None), functions_of(symbols, found))
    members = struct_offsets(btf, symbols)
    return Knowledge(evidence, offsets, probes, members, bool(found.get(GET_COOKIE)), clock.seconds)
