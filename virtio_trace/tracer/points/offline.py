# SPDX-License-Identifier: GPL-2.0-or-later
"""What to arm on a kernel that is not running: from its image and its module tree."""

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
from virtio_trace.tracer.points.point import ProbePoint
from virtio_trace.tracer.points.resolve import STEXT, ResolvedProbe, resolve
from virtio_trace.tracer.points.struct_offsets import struct_offsets


@dataclass(frozen=True, slots=True)
class OfflineKernel:
    """What a kernel's files say. ``machine`` is as in ``uname -m``; ``builtin`` names the modules
    that are built in; ``offsets`` are those of struct_offsets, in bytes."""

    release: str
    machine: str
    builtin: tuple[str, ...]
    evidence: Evidence
    offsets: dict[str, int]
    probes: list[ResolvedProbe]


def read(image: Path, modules: Path, more: Iterable[ProbePoint] = ()) -> OfflineKernel:
    """Read the kernel IMAGE and its tree MODULES (…/lib/modules/RELEASE).

    MORE are points in addition to those of table.points. Raises BadInputError if a file is damaged
    or the two are not of one kernel, CannotTraceError if the kernel cannot be traced (no BTF, an
    unknown machine).
    """
    data = vmlinuz.payload(compression.read_file(image), str(image))
    btf, release = vmlinuz.types(image)
    tree = ModuleTree(modules)
    if release is not None and release != tree.release:
        raise BadInputError(
            f"{image} is Linux {release}, {modules} is of {tree.release}",
            "name the image and the modules of one kernel",
        )
    if btf is None:
        raise CannotTraceError(
            f"{image} has no BTF", "use a kernel with CONFIG_DEBUG_INFO_BTF=y, such as Debian's"
        )
    return _read(data, btf, tree, str(image), more)


def _read(
    data: bytes, btf: Btf, tree: ModuleTree, where: str, more: Iterable[ProbePoint]
) -> OfflineKernel:
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
    probes = resolve(points, functions, functions_of(known, {}))
    return OfflineKernel(tree.release, machine.name, tree.builtin, evidence, offsets, probes)
