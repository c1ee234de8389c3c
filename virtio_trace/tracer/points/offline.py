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
from virtio_trace.kernel.files.kallsyms import Kallsyms
from virtio_trace.kernel.files.machine import NAMES, of_kernel
from virtio_trace.kernel.files.module_tree import ModuleTree
from virtio_trace.kernel.files.vmlinux_memory import Image
from virtio_trace.recording.evidence import Evidence
from virtio_trace.tracer.executor.kernel import build_id
from virtio_trace.tracer.points import table
from virtio_trace.tracer.points.point import ProbePoint
from virtio_trace.tracer.points.resolve import GET_COOKIE, STEXT, ResolvedProbe, resolve
from virtio_trace.tracer.points.struct_offsets import struct_offsets

_MOST_NOTES = 1 << 16


@dataclass(frozen=True, slots=True)
class OfflineKernel:
    """What a kernel's files say. ``machine`` is as in ``uname -m``; ``builtin`` names the modules
    that are built in; ``offsets`` are those of struct_offsets, in bytes.

    ``build_id`` is in its ELF notes; empty where they cannot be found. ``cookies``: its BPF
    programs can ask for a cookie (Linux 5.15, 7adfc6c9b315). ``module_load_name``: the offset of
    the name in an entry of tracepoint module:module_load, in bytes."""

    release: str
    machine: str
    builtin: tuple[str, ...]
    evidence: Evidence
    offsets: dict[str, int]
    probes: list[ResolvedProbe]
    build_id: bytes = b""
    cookies: bool = False
    module_load_name: int = 0


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
    return OfflineKernel(
        tree.release,
        machine.name,
        tree.builtin,
        evidence,
        offsets,
        probes,
        build_id=build_id(_notes(data, names, where)),
        cookies=GET_COOKIE in names.by_name,
        module_load_name=btf.offset("trace_event_raw_module_load", "__data_loc_name"),
    )


def _notes(data: bytes, names: Kallsyms, where: str) -> bytes:
    """The kernel's ELF notes (include/asm-generic/vmlinux.lds.h, NOTES); empty: kallsyms does not
    tell where they are."""
    start, stop = (names.by_name.get(name, []) for name in ("__start_notes", "__stop_notes"))
    if len(start) != 1 or len(stop) != 1 or not 0 < stop[0] - start[0] < _MOST_NOTES:
        return b""
    memory = kallsyms.image(data, where)
    return memory.bytes_at(start[0], stop[0] - start[0]) or b""
