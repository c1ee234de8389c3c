# SPDX-License-Identifier: GPL-2.0-or-later
"""What a kernel's files say, read for ``inspect``: a module tree, .ko files, a kernel image."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path

from virtio_trace.errors import BadInputError, UsageError, VirtioTraceError
from virtio_trace.kernel.drivers import in_image, in_modules, layout_from_data
from virtio_trace.kernel.drivers.evidence import find_layout
from virtio_trace.kernel.drivers.inspection import CallFact, Driver, Inspection, Transport
from virtio_trace.kernel.drivers.layout import Layout, from_btf
from virtio_trace.kernel.files import compression, vmlinuz
from virtio_trace.kernel.files.background import BackgroundRead
from virtio_trace.kernel.files.btf import Btf
from virtio_trace.kernel.files.elf import Module
from virtio_trace.kernel.files.kallsyms import Kallsyms
from virtio_trace.kernel.files.machine import Machine, of_kernel
from virtio_trace.kernel.files.module_tree import ModuleTree
from virtio_trace.kernel.files.vmlinux_memory import Image

_RELEASE = re.compile(r"[\w.+~-]{1,64}")


@dataclass(frozen=True, slots=True)
class OpenedImage:
    """A kernel image: its types, None where it has none; uncompressed where it was read whole."""

    path: Path
    data: bytes
    release: str | None
    btf: Btf | None

    @property
    def machine(self) -> Machine | None:
        """None where it was not read whole, or its machine is not supported."""
        return of_kernel(self.data)


@dataclass(slots=True)
class _Findings:
    """What has been found so far."""

    drivers: list[Driver] = field(default_factory=list)
    transports: list[Transport] = field(default_factory=list)
    calls: list[CallFact] = field(default_factory=list)
    unread: dict[str, str] = field(default_factory=dict)
    unknown: list[str] = field(default_factory=list)


def open_kernel(path: Path, *, whole: bool) -> OpenedImage:
    """Reads a kernel image, its types only or the WHOLE of it.

    Raises BadInputError where it is none, CannotTraceError.
    """
    btf, release = vmlinuz.types(path)
    data = vmlinuz.payload(compression.read_file(path), str(path)) if whole else b""
    return OpenedImage(path, data, release, btf)


def inspect_tree(tree: ModuleTree, named: Path | None = None) -> Inspection:
    """Every virtio driver and transport of a module tree, and of the kernel image NAMED.

    Without one, the image that belongs to the tree is looked for, for its types alone. A file that
    is refused ends nothing. Raises BadInputError, UsageError, CannotTraceError.
    """
    image = named or vmlinuz.find(tree.release, tree.path)
    opening = _opening(image, named is not None)  # while the modules are unpacked
    contents, unread = tree.virtio_files()
    found = _Findings(unread=unread)
    modules = _parsed(contents, found)
    kernel = _opened(opening, named, found)
    _survey_modules(modules, kernel, named, found)
    _survey_kernel(kernel, named, tree, found)
    return _inspection(found, modules, kernel, tree.release, tree.builtin)


def inspect_files(paths: Collection[Path], named: Path | None = None) -> Inspection:
    """The same of single .ko files, whichever kernel they are of. Raises as above."""
    found = _Findings()
    contents: dict[str, bytes] = {}
    for path in paths:
        try:
            contents[str(path)] = compression.unpack(compression.read_file(path), str(path))
        except VirtioTraceError as error:
            found.unread[str(path)] = _reason(str(path), error)
    modules = _parsed(contents, found)
    releases = {_release(module) for module in modules.values()}
    beside = (_image_of(Path(file), _release(module)) for file, module in modules.items())
    image = named or next((path for path in beside if path), None)
    kernel = _opened(_opening(image, named is not None), named, found)
    _survey_modules(modules, kernel, named, found)
    _survey_kernel(kernel, named, None, found)
    return _inspection(found, modules, kernel, releases.pop() if len(releases) == 1 else None, ())


def inspect_image(path: Path) -> Inspection:
    """What is in a kernel image, and in the module tree that belongs to it if there is one.

    Raises BadInputError, CannotTraceError.
    """
    kernel, found = open_kernel(path, whole=True), _Findings()
    place = vmlinuz.find_tree(kernel.release, path) if kernel.release else None
    tree = ModuleTree(place) if place else None
    modules: dict[str, Module] = {}
    if tree:
        contents, found.unread = tree.virtio_files()
        modules = _parsed(contents, found)
        _survey_modules(modules, kernel, path, found)
    _survey_kernel(kernel, path, tree, found)
    return _inspection(found, modules, kernel, kernel.release, tree.builtin if tree else ())


def _opening(image: Path | None, whole: bool) -> BackgroundRead[OpenedImage] | None:
    return BackgroundRead(lambda: open_kernel(image, whole=whole)) if image else None


def _opened(
    opening: BackgroundRead[OpenedImage] | None, named: Path | None, found: _Findings
) -> OpenedImage | None:
    """The kernel; one that was only found by us and cannot be read is done without."""
    try:
        return opening.result() if opening else None
    except VirtioTraceError as error:
        if named:
            raise
        found.unknown.append(str(error))
        return None


def _parsed(contents: dict[str, bytes], found: _Findings) -> dict[str, Module]:
    modules: dict[str, Module] = {}
    for file, data in contents.items():
        try:
            module = Module(data, file)
            assert module.symbols is not None  # reads them: a damaged table is refused here
            modules[file] = module
        except BadInputError as error:
            found.unread[file] = _reason(file, error)
    return modules


def _survey_modules(
    modules: dict[str, Module], kernel: OpenedImage | None, named: Path | None, found: _Findings
) -> None:
    """Each kernel's modules by that kernel's layout."""
    groups: dict[str | None, dict[str, Module]] = {}
    for file, module in modules.items():
        groups.setdefault(_release(module), {})[file] = module
    if named and kernel and groups and not any(_fits(kernel, release) for release in groups):
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
    """All of one file or nothing of it. Raises BadInputError."""
    read: list[Driver] = []
    if "virtio_driver" in shapes.structs:
        read = [Driver(facts) for facts in in_modules.virtio_drivers(module, shapes, file)]
    elif module.undefined & in_modules.REGISTER_DRIVER:
        raise BadInputError(f"{file}: the layout of its struct virtio_driver is not known")
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
    """By the kernel's types; where there are none, of virtio_driver alone, by the data."""
    if kernel and kernel.btf and _fits(kernel, release):
        return find_layout(kernel.btf, modules)
    if release == os.uname().release:
        with contextlib.suppress(VirtioTraceError):
            return find_layout(Btf.running(), modules)
    why = "its image has no BTF" if kernel and _fits(kernel, release) else "no image was found"
    found.unknown.append(
        f"the types of Linux {release or '(unknown)'}: {why}; struct virtio_driver was laid out by"
        " the order of its members, and transports were not read (--kernel VMLINUZ names an image)"
    )
    try:
        shape = layout_from_data.virtio_driver(modules)
    except BadInputError:  # said of the file when it is surveyed
        shape = None
    return Layout({"virtio_driver": shape} if shape else {})


def _survey_kernel(
    kernel: OpenedImage | None, named: Path | None, tree: ModuleTree | None, found: _Findings
) -> None:
    """What is built in, if that was asked for; else that it is there and was not read."""
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
    )


def _fits(kernel: OpenedImage, release: str | None) -> bool:
    return kernel.release is None or release in (None, kernel.release)


def _release(module: Module) -> str | None:
    """The kernel that a module is for (include/linux/vermagic.h), or None."""
    magic = next((value for key, value in module.modinfo() if key == "vermagic"), "")
    release = magic.partition(" ")[0]
    return release if _RELEASE.fullmatch(release) else None


def _image_of(file: Path, release: str | None) -> Path | None:
    """The image of the kernel whose module tree FILE is in, else one that stands beside it."""
    if release is None:
        return None
    ups = file.absolute().parents
    tree = next((up for up in ups if up.name == release), ups[0])
    return vmlinuz.find(release, tree)


def _reason(file: str, error: VirtioTraceError) -> str:
    return str(error).removeprefix(f"{file}: ")
