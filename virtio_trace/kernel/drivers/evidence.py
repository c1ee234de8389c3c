# SPDX-License-Identifier: GPL-2.0-or-later
"""What should happen on a kernel, by its module tree, and where the tree's functions are."""

from __future__ import annotations

from collections.abc import Callable, Collection

from virtio_trace.errors import BadInputError, CannotTraceError, VirtioTraceError
from virtio_trace.kernel.drivers import in_modules, layout
from virtio_trace.kernel.drivers.struct_search import REGISTERED_BY
from virtio_trace.kernel.files.btf import Btf
from virtio_trace.kernel.files.elf import Module
from virtio_trace.kernel.files.elf_tables import Function
from virtio_trace.kernel.files.module_tree import ModuleTree
from virtio_trace.kernel.running.proc_kallsyms import Found, of_module
from virtio_trace.recording.evidence import DriverFacts, Evidence, TransportFacts

_Functions = dict[str, list[Function]]


class Symbols:
    """The functions of a tree's modules, each file read once, and the ``layout`` of the driver
    structs, once read_evidence has found it."""

    def __init__(self, tree: ModuleTree) -> None:
        self._tree = tree
        self._modules: dict[str, Module] = {}
        self.layout: layout.Layout | None = None

    def module(self, name: str) -> Module:
        """The module NAME (``virtio_rng``). Raises BadInputError where it cannot be read."""
        file = self._tree.files.get(name.replace("-", "_"))
        if file is None:
            builtin = name.replace("-", "_") in self._tree.builtin
            what = "built in" if builtin else "not a module of this tree"
            raise BadInputError(
                f"{self._tree.path}: {name} is {what}",
                "its functions are in /proc/kallsyms" if builtin else "see modules.builtin there",
            )
        if file not in self._modules:
            self.keep(file, Module(self._tree.read(file), str(self._tree.path / file)))
        return self._modules[file]

    def functions_of(self, name: str) -> _Functions:
        """Function name to its places in that module; static functions may share a name.

        Raises BadInputError.
        """
        return self.module(name).functions

    def keep(self, file: str, module: Module) -> None:
        """Remember a file of the tree that has been read."""
        self._modules[file] = module


def functions_of(symbols: Symbols, found: Found) -> Callable[[str], _Functions | None]:
    """A lookup of a module's functions by its name; None: the module is unknown.

    From its file, else from what was FOUND in kallsyms: a loaded module may have no file.
    """

    def functions(module: str) -> _Functions | None:
        try:
            return symbols.functions_of(module)
        except VirtioTraceError:
            loaded = of_module(found, module).items()
            return {n: [Function("", at, 0) for at in has] for n, has in loaded if has} or None

    return functions


def read_evidence(
    tree: ModuleTree, btf: Btf, symbols: Symbols | None = None, machine: str | None = None
) -> Evidence:
    """Every virtio driver and transport in the tree's files.

    BTF is the kernel's (vmlinux). A file that cannot be read is listed in ``unread``. SYMBOLS keeps
    the files that were read; MACHINE is the kernel's, as in ``uname -m``.

    Raises CannotTraceError where the layout of the structs is unknown.
    """
    contents, unread = tree.virtio_files()
    modules: dict[str, Module] = {}
    for file, data in contents.items():
        try:
            module = Module(data, file)
            assert module.symbols is not None  # a damaged table is refused here
            if machine is not None and module.machine.name != machine:
                raise BadInputError(f"{file}: is for {module.machine.name}, not {machine}")
            modules[file] = module
        except BadInputError as error:
            unread[file] = _reason(file, error)
        else:
            if symbols is not None:
                symbols.keep(file, module)
    shapes = find_layout(btf, list(modules.values()))
    if symbols is not None:
        symbols.layout = shapes
    found: list[DriverFacts] = []
    ways: list[TransportFacts] = []
    for file, module in modules.items():
        try:
            found += in_modules.virtio_drivers(module, shapes, file)
            ways += in_modules.transports(module, shapes, file)
        except BadInputError as error:
            unread[file] = _reason(file, error)
    return Evidence(
        release=tree.release,
        drivers=tuple(found),
        transports=tuple(ways),
        builtin=tuple(sorted(name for name in tree.builtin if "virtio" in name)),
        unread={file: unread[file] for file in sorted(unread)},
        builtin_aliases=_virtio_aliases(tree),
    )


def _virtio_aliases(tree: ModuleTree) -> dict[str, tuple[str, ...]]:
    found = {
        module: tuple(alias for alias in aliases if alias.startswith("virtio:"))
        for module, aliases in tree.builtin_aliases.items()
    }
    return {module: aliases for module, aliases in sorted(found.items()) if aliases}


def find_layout(btf: Btf, modules: Collection[Module]) -> layout.Layout:
    """The layout of the driver structs, from the kernel's BTF, else from the modules' own BTF.

    Where virtio is a module (Debian up to 6.1), struct virtio_driver is in the modules' BTF only.
    Raises CannotTraceError where the layout is unknown.
    """
    found = layout.from_btf(btf)
    structs = dict(found.structs)
    for struct, registers in REGISTERED_BY.items():
        users = (m for m in modules if struct not in structs and m.undefined & registers)
        shape = next((s for m in users if (s := _shape(btf, m, struct))), None)
        if shape is not None:
            structs[struct] = shape
    if "virtio_driver" not in structs:
        structs["virtio_driver"] = layout.by_order(btf.size("device_driver"))
    return layout.Layout(structs, found.pci_id_size)


def _shape(btf: Btf, module: Module, struct: str) -> layout.StructLayout | None:
    """The struct by the module's own BTF; None: it has none, or that of another kernel."""
    section = module.section(".BTF")
    if section is None:
        return None
    try:
        types = Btf(module.contents(section), module.where, btf)
        return layout.struct_from_btf(types, struct) if types.has(struct) else None
    except (BadInputError, CannotTraceError):
        return None


def _reason(file: str, error: VirtioTraceError) -> str:
    return str(error).removeprefix(f"{file}: ")
