# SPDX-License-Identifier: GPL-2.0-or-later
"""inspect on real kernels' module trees, compared with depmod, readelf and bpftool."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.unit import binutils
from tests.unit.binutils import Readelf
from virtio_trace.kernel.drivers import inspect
from virtio_trace.kernel.drivers.evidence import find_layout
from virtio_trace.kernel.drivers.inspection import Driver, Inspection
from virtio_trace.kernel.files import compression, vmlinuz
from virtio_trace.kernel.files.elf import Module
from virtio_trace.kernel.files.module_tree import ModuleTree
from virtio_trace.recording.evidence import DriverFacts, TransportFacts
from virtio_trace.virtio import features
from virtio_trace.vm.host import debian

KERNELS = {  # modular; built in; 128 feature bits and a new kallsyms; another machine
    "6.1": ("linux-image-cloud-amd64/bookworm", None),
    "6.12": ("linux-image-cloud-amd64/trixie", None),
    "sid": ("linux-image-cloud-amd64/sid", None),
    "arm64": ("linux-image-cloud-arm64/trixie", "arm64"),
}
REGISTERS = {"register_virtio_driver", "__register_virtio_driver", "register_virtio_device"}
STRUCTS = ("virtio_driver", "pci_driver", "platform_driver", "vdpa_driver")


@dataclass(frozen=True)
class Case:
    """A kernel, our result for it, and readelf's for its modules."""

    kernel: debian.KernelPackage
    found: Inspection
    files: dict[str, Readelf]

    @property
    def drivers(self) -> list[Driver]:
        return [driver for driver in self.found.drivers if not driver.facts.builtin]


@pytest.fixture(scope="module", params=KERNELS)
def case(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    fetch: Callable[..., debian.KernelPackage],
) -> Case:
    name, architecture = KERNELS[request.param]
    kernel = fetch(name, architecture=architecture)
    found = inspect.inspect_tree(ModuleTree(kernel.modules), kernel.vmlinuz)
    folder = tmp_path_factory.mktemp("ko")
    files = {}
    for file in sorted(
        {d.facts.file for d in found.drivers if not d.facts.builtin}
        | {t.facts.file for t in found.transports if not t.builtin}
    ):
        path = folder / Path(file).name
        path.write_bytes(compression.unpack((kernel.modules / file).read_bytes(), file))
        files[file] = Readelf(path)
    assert len(files) >= 11
    return Case(kernel, found, files)


@pytest.fixture(scope="module")
def types(
    case: Case, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, dict[str, tuple[int, bool]]]:
    """The driver structs by bpftool, from the kernel's BTF, else from a module's."""
    raw = tmp_path_factory.mktemp("btf") / "vmlinux"
    raw.write_bytes(vmlinuz.btf_bytes(case.kernel.vmlinuz.read_bytes(), "vmlinuz"))
    core = binutils.bpftool("btf", "dump", "file", raw)
    found = {struct: here for struct in STRUCTS if (here := binutils.members(core, struct))}
    for struct, user in (("virtio_driver", "virtio_blk"), ("vdpa_driver", "virtio_vdpa")):
        path = next((f.path for name, f in case.files.items() if user in name), None)
        if struct not in found and path:  # its subsystem is a module: the types are there
            more = binutils.bpftool("-B", raw, "btf", "dump", "file", path)
            if here := binutils.members(core | more, struct):
                found[struct] = here
    return found


def test_drivers_and_aliases_equal_those_of_depmod(case: Case) -> None:
    depmod = shutil.which("depmod", path="/usr/sbin:/sbin:/usr/bin:/bin")
    assert depmod
    base = case.kernel.modules.parent.parent.parent
    said = binutils.run(depmod, "-n", "-b", base, case.kernel.release)
    aliases: dict[str, set[str]] = {}
    for alias, module in re.findall(r"^alias (virtio:\S+) (\S+)$", said, re.MULTILINE):
        aliases.setdefault(module, set()).add(alias)
    assert {d.facts.module for d in case.drivers} == aliases.keys()
    for driver in case.drivers:
        assert set(driver.facts.aliases) == aliases[driver.facts.module]
        if driver.facts.ids:  # virtio_rproc_serial has none without CONFIG_REMOTEPROC
            assert set(driver.facts.matches) == aliases[driver.facts.module]


def test_aliases_equal_those_of_modinfo(case: Case) -> None:
    for driver in case.drivers:
        path = case.files[driver.facts.file].path
        said = binutils.run("modinfo", "-F", "alias", path).split()
        assert list(driver.facts.aliases) == [a for a in said if a.startswith("virtio:")]
        (name,) = binutils.run("modinfo", "-F", "name", path).split()
        assert driver.facts.module == name


def test_offsets_equal_those_of_bpftool(
    case: Case, types: dict[str, dict[str, tuple[int, bool]]]
) -> None:
    modules = [Module(f.path.read_bytes(), file) for file, f in case.files.items()]
    ours = find_layout(vmlinuz.btf(case.kernel.vmlinuz), modules).structs
    assert ours.keys() == types.keys()
    for struct, shape in ours.items():
        theirs = types[struct]
        calls = {name: at for name, (at, is_function) in theirs.items() if is_function}
        assert shape.functions == calls
        assert shape.id_table == theirs.get("id_table", (None,))[0]
    pairs = [
        theirs[f"feature_table{x}"][0]
        for theirs in [types["virtio_driver"]]
        for x in ("", "_legacy")
    ]
    sizes = [types["virtio_driver"][f"feature_table_size{x}"][0] for x in ("", "_legacy")]
    assert ours["virtio_driver"].features == tuple(zip(pairs, sizes, strict=True))


def test_functions_equal_those_of_readelf(
    case: Case, types: dict[str, dict[str, tuple[int, bool]]]
) -> None:
    kinds = {"pci": "pci_driver", "platform": "platform_driver", "vdpa": "vdpa_driver"}
    things: list[tuple[DriverFacts | TransportFacts, str]] = [
        (d.facts, "virtio_driver") for d in case.drivers
    ]
    things += [(t.facts, kinds[t.facts.bus]) for t in case.found.transports if not t.builtin]
    for facts, kind in things:
        functions = dict(facts.functions)
        elf = case.files[facts.file]
        ((at, _size),) = elf.objects[facts.struct]
        for member, (offset, is_function) in types[kind].items():
            if is_function:
                to = elf.pointers.get((at[0], at[1] + offset))
                name = functions.pop(member)
                assert name in elf.functions[to] if to else name is None, f"{facts}: {member}"
        assert not functions


def test_features_are_the_numbers_in_the_file(
    case: Case, types: dict[str, dict[str, tuple[int, bool]]]
) -> None:
    offsets = types["virtio_driver"]
    for driver in case.drivers:
        elf = case.files[driver.facts.file]
        (((section, start), _size),) = elf.objects[driver.facts.struct]
        for suffix, ours in (("", driver.features), ("_legacy", driver.features_legacy)):
            count = elf.number((section, start + offsets[f"feature_table_size{suffix}"][0]))
            table = elf.pointers.get((section, start + offsets[f"feature_table{suffix}"][0]))
            assert len(ours) == (count if table else 0)
            for i, bit in enumerate(ours):
                assert table
                assert elf.number((table[0], table[1] + 4 * i)) == bit
        names = features.names(driver.device, driver.features)
        assert not [name for name in names if name.startswith("bit ")], driver.facts.name
    net = next(d for d in case.drivers if d.facts.name == "virtio_net")
    assert {0, 5, 17, 22} < set(net.features) < set(net.features_legacy) | {65, 66, 67, 68}


def test_calls_equal_the_relocations_of_readelf(case: Case) -> None:
    builtin = {d.facts.struct for d in case.found.drivers if d.facts.builtin}
    ours = [
        (c.module, c.callee, c.caller, c.offset)
        for c in case.found.calls
        if c.callee in REGISTERS and c.argument not in builtin and c.caller != "virtio_pci_probe"
    ]
    theirs = []
    for file, elf in case.files.items():
        for (section, offset), name in elf.calls:
            if name in REGISTERS:
                starts = [(at, names) for (of, at), names in elf.functions.items() if of == section]
                at, names = max((at, names) for at, names in starts if at <= offset)
                caller = next(n for n in sorted(names) if n != "init_module")
                assert offset < at + elf.sizes[caller]
                theirs.append((_module(file), name, caller, offset - at))
    if "virtio_pci" not in case.found.builtin:
        theirs = [call for call in theirs if call[2] != "virtio_pci_probe"]
    assert sorted(ours) == sorted(theirs)
    given = sorted(c.argument or "" for c in case.found.calls if "virtio_driver" in c.callee)
    assert given == sorted(d.facts.struct for d in case.found.drivers)


def test_the_call_path(case: Case) -> None:
    """From the init function to the probe, and from the transport's probe to the bus."""
    for driver in case.drivers:
        calls = [c for c in case.found.calls if c.argument == driver.facts.struct]
        assert [c.caller for c in calls if c.module == driver.facts.module] == [driver.facts.init]
    ways = {t.facts.name: t.facts for t in case.found.transports}
    inside = {c.caller: c for c in case.found.calls if c.callee == "register_virtio_device"}
    if case.found.machine == "aarch64":
        assert any("arm64" in sentence for sentence in case.found.unknown)
    else:
        pci = ways["virtio-pci"]
        assert pci.functions["probe"] == "virtio_pci_probe"
        assert inside["virtio_pci_probe"].module == "virtio_pci"
        assert case.found.unknown == ()
    assert ways["virtio-mmio"].functions["probe"] == "virtio_mmio_probe"
    assert inside["virtio_mmio_probe"].module == "virtio_mmio"
    assert case.found.unread == {}


def _module(file: str) -> str:
    return Path(file).name.partition(".ko")[0].replace("-", "_")
