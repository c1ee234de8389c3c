# SPDX-License-Identifier: GPL-2.0-or-later
"""What is to be armed on a kernel that is not running: from its image and its module tree."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from virtio_trace.errors import BadInputError, CannotTraceError
from virtio_trace.kernel.drivers import in_image
from virtio_trace.kernel.drivers.evidence import Symbols, functions_of, read_evidence
from virtio_trace.kernel.drivers.layout import from_btf
from virtio_trace.kernel.files import compression, kallsyms, vmlinuz
from virtio_trace.kernel.files.btf import Btf
from virtio_trace.kernel.files.machine import NAMES, of_kernel
from virtio_trace.kernel.files.module_tree import ModuleTree
from virtio_trace.kernel.files.vmlinux_memory import Image
from virtio_trace.recording.evidence import Evidence
from virtio_trace.tracer.points import table
from virtio_trace.tracer.points.resolve import STEXT, Settled, settle
from virtio_trace.tracer.points.struct_offsets import struct_offsets
from virtio_trace.tracer.points.table import ProbePoint


@dataclass(frozen=True, slots=True)
class Kernel:
    """A kernel's files, read. ``machine`` as in ``uname -m``; ``builtin``: what could have been a
    module and is in the kernel itself; ``offsets`` as fetch.definitions takes them."""

    release: str
    machine: str
    builtin: tuple[str, ...]
    evidence: Evidence
    offsets: dict[str, int]
    settled: list[Settled]


def read(image: Path, modules: Path, more: Iterable[ProbePoint] = ()) -> Kernel:
    """The kernel IMAGE and its tree MODULES (…/lib/modules/RELEASE). MORE are points beside those
    of probes.points.

    Raises BadInputError where one is not what it should be, or they are not of one kernel;
    CannotTraceError where the kernel cannot be traced (no BTF, an unknown machine).
    """
    data = vmlinuz.payload(compression.read_file(image), str(image))
    btf, release = vmlinuz.types(image)
    tree = ModuleTree(modules)
    if release is not None and release != tree.release:
        raise BadInputError(
            f"{image} is of Linux {release}, {modules} of {tree.release}",
            "name the image and the modules of one kernel",
        )
    if btf is None:
        raise CannotTraceError(
            f"{image}: has no BTF", "needs a kernel with CONFIG_DEBUG_INFO_BTF=y, as Debian's have"
        )
    return _read(data, btf, tree, str(image), more)


def _read(
    data: bytes, btf: Btf, tree: ModuleTree, where: str, more: Iterable[ProbePoint]
) -> Kernel:
    machine = of_kernel(data)
    if machine is None:
        raise BadInputError(f"{where}: is for a machine that is not supported", f"use {NAMES}")
    known = Symbols(tree)
    evidence = read_evidence(tree, btf, known, machine.name)
    names = kallsyms.read(data, where)
    if machine.image_pointers_final:
        inner = in_image.read(Image(data, where), names, from_btf(btf), tree.builtin_aliases)
        drivers = tuple(driver.facts for driver in inner.drivers)
        evidence = replace(evidence, drivers=(*evidence.drivers, *drivers))
    offsets = struct_offsets(btf, known)
    points = [*table.points(evidence), *more]
    wanted = {name for point in points for name in point.symbols} | {STEXT}
    functions = {name: sorted(names.by_name.get(name, ())) for name in wanted}
    settled = settle(points, functions, functions_of(known, {}))
    return Kernel(tree.release, machine.name, tree.builtin, evidence, offsets, settled)
