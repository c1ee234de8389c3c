# SPDX-License-Identifier: GPL-2.0-or-later
"""What is to be armed on a kernel that is not running: from its image and its module tree."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from virtio_trace.errors import BadInputError, CannotTraceError, VirtioTraceError
from virtio_trace.evidence import Evidence
from virtio_trace.kernel import compression, symbols, vmlinuz
from virtio_trace.kernel.btf import Btf
from virtio_trace.kernel.evidence import Symbols, read_evidence
from virtio_trace.kernel.modules import ModuleTree
from virtio_trace.tracer import probes
from virtio_trace.tracer.fetch import REGISTERS
from virtio_trace.tracer.offsets import struct_offsets
from virtio_trace.tracer.settle import STEXT, FunctionsOf, Settled, settle


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


def read(image: Path, modules: Path) -> Kernel:
    """The kernel IMAGE and its tree MODULES (…/lib/modules/RELEASE).

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
    return _read(data, btf, tree, str(image))


def _read(data: bytes, btf: Btf, tree: ModuleTree, where: str) -> Kernel:
    machine = "x86_64" if data[:4] == b"\x7fELF" else "aarch64"
    assert machine in REGISTERS
    known = Symbols(tree)
    evidence = read_evidence(tree, btf, known, machine)
    offsets = struct_offsets(btf, known)
    points = probes.points(evidence)
    names = symbols.functions(data, where)
    wanted = {name for point in points for name in point.symbols} | {STEXT}
    builtin = {name: sorted(names.get(name, ())) for name in wanted}
    settled = settle(points, builtin, functions_of(known))
    return Kernel(tree.release, machine, tree.builtin, evidence, offsets, settled)


def functions_of(known: Symbols) -> FunctionsOf:
    """What settle() asks for: None where a module's file cannot be read."""

    def of(module: str) -> object:
        try:
            return known.functions_of(module)
        except VirtioTraceError:
            return None

    return of  # type: ignore[return-value]
