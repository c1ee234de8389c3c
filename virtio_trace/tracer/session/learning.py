# SPDX-License-Identifier: GPL-2.0-or-later
"""Reads what the running kernel's files and memory say (knowledge_cache.py keeps it)."""

from __future__ import annotations

from pathlib import Path

from virtio_trace.kernel.drivers.evidence import Symbols, functions_of, read_evidence
from virtio_trace.kernel.drivers.in_memory import KernelView, Links, add_registered
from virtio_trace.kernel.files.btf import Btf
from virtio_trace.kernel.files.module_tree import ModuleTree
from virtio_trace.kernel.running.host import HostKernel
from virtio_trace.kernel.running.proc_kallsyms import of_module
from virtio_trace.tracer.bpf.offsets import read_offsets
from virtio_trace.tracer.points import table
from virtio_trace.tracer.points.resolve import GET_COOKIE, STEXT, resolve
from virtio_trace.tracer.points.struct_offsets import struct_offsets
from virtio_trace.tracer.session.knowledge import Knowledge
from virtio_trace.tracer.session.phases import PhaseClock


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
