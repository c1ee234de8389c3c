# SPDX-License-Identifier: GPL-2.0-or-later
"""Reads for ``inspect`` what a kernel's files say: a module tree, .ko files, a kernel image."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path

from virtio_trace.errors import BadInputError, UsageError, VirtioTraceError
from virtio_trace.kernel.drivers import in_image, in_modules, layout_from_data
from virtio_trace.kernel.drivers.evidence import find_layout
from virtio_trace.kernel.drivers.inspection import CallFact, Driver, Inspection, Transport
from virtio_trace.kernel.drivers.layout import Layout, from_btf
from virtio_trace.kernel.drivers.opened_image import (
    OpenedImage,
    finish_opening,
    image_of,
    open_image,
    release_of,
    start_opening,
)
from virtio_trace.kernel.drivers.struct_search import REGISTER_DRIVER
from virtio_trace.kernel.files import compression, vmlinuz
from virtio_trace.kernel.files.btf import Btf
from virtio_trace.kernel.files.elf import Module
from virtio_trace.kernel.files.kallsyms import Kallsyms
from virtio_trace.kernel.files.module_tree import ModuleTree
from virtio_trace.kernel.files.vmlinux_memory import Image


@dataclass(slots=True)
class _Findings:
    """What has been found so far. ``files`` is how many module files were opened."""

    drivers: list[Driver] = field(default_factory=list)
    transports: list[Transport] = field(default_factory=list)
    calls: list[CallFact] = field(default_factory=list)
    unread: dict[str, str] = field(default_factory=dict)
    unknown: list[str] = field(default_factory=list)
    files: int = 0


def inspect_tree(tree: ModuleTree, named: Path | None = None) -> Inspection:
    """Every virtio driver and transport in a module tree, and in the kernel image NAMED.

    If none is named, the tree's own image is looked for, for its types only. A file that cannot be
    read is listed in ``unread``. Raises BadInputError, UsageError, CannotTraceError.
    """
    image = named or vmlinuz.find(tree.release, tree.path)
    opening = start_opening(image, whole=named is not None)  # while the modules are unpacked
    contents, unread = tree.virtio_files()
    found = _Findings(unread=unread, files=len(tree.virtio_candidates()))
    modules = _parsed(contents, found)
    kernel = finish_opening(opening, named, found.unknown)
    _survey_modules(modules, kernel, named, found)
    _survey_kernel(kernel, named, tree, found)
    return _inspection(found, modules, kernel, tree.release, tree.builtin)


def inspect_files(paths: Collection[Path], named: Path | None = None) -> Inspection:
    """The same for single .ko files, of whichever kernel. Raises as above."""
    found = _Findings(files=len(set(paths)))
    contents: dict[str, bytes] = {}
    for path in paths:
        try:
            contents[str(path)] = compression.unpack(compression.read_file(path), str(path))
        except VirtioTraceError as error:
            found.unread[str(path)] = _reason(str(path), error)
    modules = _parsed(contents, found)
    releases = {release_of(module) for module in modules.values()}
    beside = (image_of(Path(file), release_of(module)) for file, module in modules.items())
    image = named or next((path for path in beside if path), None)
    kernel = finish_opening(start_opening(image, whole=named is not None), named, found.unknown)
    _survey_modules(modules, kernel, named, found)
    _survey_kernel(kernel, named, None, found)
    return _inspection(found, modules, kernel, releases.pop() if len(releases) == 1 else None, ())


def inspect_image(path: Path) -> Inspection:
    """What is in a kernel image, and in its module tree if one is found.

    Raises BadInputError, CannotTraceError.
    """
    kernel, found = open_image(path, whole=True), _Findings()
    place = vmlinuz.find_tree(kernel.release, path) if kernel.release else None
    tree = ModuleTree(place) if place else None
    modules: dict[str, Module] = {}
    if tree:
        contents, found.unread = tree.virtio_files()
        modules = _parsed(contents, found)
        _survey_modules(modules, kernel, path, found)
    _survey_kernel(kernel, path, tree, found)
    return _inspection(found, modules, kernel, kernel.release, tree.builtin if tree else ())


def _parsed(contents: dict[str, bytes], found: _Findings) -> dict[str, Module]:
    modules: dict[str, Module] = {}
    for file, data in contents.items():
        try:
            module = Module(data, file)
            assert module.symbols is not None  # a damaged table is refused here
            modules[file] = module
        except BadInputError as error:
            found.unread[file] = _reason(file, error)
    return modules


def _survey_modules(
    modules: dict[str, Module], kernel: OpenedImage | None, named: Path | None, found: _Findings
) -> None:
    """The modules of each kernel, by the layout of that kernel."""
    groups: dict[str | None, dict[str, Module]] = {}
    for file, module in modules.items():
        groups.setdefault(release_of(module), {})[file] = module
    if named and kernel and groups and not any(kernel.fits(release) for release in groups):
        raise UsageError(
            f"{named} is of Linux {kernel.release}, the modules are of {next(iter(groups))}",
            "name the image of the modules' own kernel with --kernel",
        )
    for release, group in groups.items():
        shapes = _layout(release, list(group.values()), kernel, found)
        for file, module in group.items():
            try:
                _survey_module(file, module, shapes, found)
            except BadInputError as error:
                found.unread[file] = _reason(file, error)


def _survey_module(file: str, module: Module, shapes: Layout, found: _Findings) -> None:
    """Adds all of one file, or nothing. Raises BadInputError."""
    read: list[Driver] = []
    if "virtio_driver" in shapes.structs:
        read = [Driver(facts) for facts in in_modules.virtio_drivers(module, shapes, file)]
    elif module.undefined & REGISTER_DRIVER:
        raise BadInputError(f"{file}: the layout of its struct virtio_driver is unknown")
    ways = [Transport(one) for one in in_modules.transports(module, shapes, file)]
    name, _aliases = in_modules.names(module, file)
    opcode = module.machine.call_opcode
    calls = [
        CallFact(name, call.caller, call.callee, call.offset + opcode, argument)
        for call, argument in in_modules.registrations(module, shapes)
    ]
    found.drivers += read
    found.transports += ways
    found.calls += calls


def _layout(
    release: str | None, modules: list[Module], kernel: OpenedImage | None, found: _Findings
) -> Layout:
    """By the kernel's types; without them, of virtio_driver only, by the modules' data."""
    if kernel and kernel.btf and kernel.fits(release):
        return find_layout(kernel.btf, modules)
    if release == os.uname().release:
        with contextlib.suppress(VirtioTraceError):
            return find_layout(Btf.running(), modules)
    why = "its image has no BTF" if kernel and kernel.fits(release) else "no image was found"
    found.unknown.append(
        f"the types of Linux {release or '(unknown)'}: {why}; struct virtio_driver was laid out by"
        " the order of its members, and transports were not read (--kernel VMLINUZ names an image)"
    )
    try:
        shape = layout_from_data.virtio_driver(modules)
    except BadInputError:  # _survey_module says it of the file
        shape = None
    return Layout({"virtio_driver": shape} if shape else {})


def _survey_kernel(
    kernel: OpenedImage | None, named: Path | None, tree: ModuleTree | None, found: _Findings
) -> None:
    """Read built-in drivers if an image was NAMED; else note that they were not read."""
    if not named or not kernel:
        inside = [name for name in tree.builtin if "virtio" in name] if tree else []
        if inside:
            image = kernel.path if kernel else "VMLINUZ"
            found.unknown.append(
                f"what is built into the kernel ({', '.join(inside)}): --kernel {image} reads it"
            )
        return
    if kernel.btf is None or not kernel.machine or not kernel.machine.image_pointers_final:
        name = kernel.machine.debian if kernel.machine else "unsupported"
        why = (
            "it has no BTF" if kernel.btf is None else f"pointers in an {name} image are not final"
        )
        found.unknown.append(f"what is built into {kernel.path}: {why}")
        return
    try:
        memory = Image(kernel.data, str(kernel.path))
        aliases = tree.builtin_aliases if tree else {}
        inner = in_image.read(memory, Kallsyms(memory), from_btf(kernel.btf), aliases)
    except BadInputError as error:
        found.unknown.append(f"what is built in: {error}")
        return
    found.drivers += inner.drivers
    found.transports += inner.transports
    found.calls += inner.calls


def _inspection(
    found: _Findings,
    modules: dict[str, Module],
    kernel: OpenedImage | None,
    release: str | None,
    builtins: tuple[str, ...],
) -> Inspection:
    machines = {module.machine for module in modules.values()} or (
        {kernel.machine} if kernel and kernel.machine else set()
    )
    return Inspection(
        release=release,
        machine=machines.pop().name if len(machines) == 1 else None,
        image=str(kernel.path) if kernel else None,
        drivers=tuple(found.drivers),
        transports=tuple(found.transports),
        calls=tuple(found.calls),
        builtin=tuple(sorted(name for name in builtins if "virtio" in name)),
        unread={file: found.unread[file] for file in sorted(found.unread)},
        unknown=tuple(found.unknown),
        files=found.files,
    )


def _reason(file: str, error: VirtioTraceError) -> str:
    return str(error).removeprefix(f"{file}: ")
