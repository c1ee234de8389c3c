# SPDX-License-Identifier: GPL-2.0-or-later
"""kernel/files/elf.py against readelf and modinfo, and with damaged files."""

from __future__ import annotations

import random
import re
import subprocess
from pathlib import Path

import pytest

from virtio_trace.errors import BadInputError, VirtioTraceError
from virtio_trace.kernel.drivers import in_modules, layout, struct_search
from virtio_trace.kernel.files.elf import Module
from virtio_trace.kernel.files.elf_tables import Function
from virtio_trace.kernel.files.module_tree import ModuleTree
from virtio_trace.vm.host.debian import KernelPackage

_LAYOUT = layout.Layout(  # of 6.1
    {
        "virtio_driver": layout.by_order(144),
        "pci_driver": layout.StructLayout(296, 16, 24, {"probe": 32, "remove": 40}),
    },
    pci_id_size=40,
)


def _virtio_modules(kernel: KernelPackage) -> dict[str, bytes]:
    tree = ModuleTree(kernel.modules)
    return {file: tree.read(file) for name, file in tree.files.items() if "virtio" in name}


def _run(*command: str | Path) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def _readelf_functions(path: Path) -> dict[str, set[tuple[int, int]]]:
    out: dict[str, set[tuple[int, int]]] = {}
    for line in _run("readelf", "-Ws", path).splitlines():
        words = line.split()
        if len(words) >= 8 and words[3] == "FUNC" and words[6].isdigit():
            out.setdefault(words[7], set()).add((int(words[1], 16), int(words[2], 0)))
    return {name: places for name, places in out.items() if ".cold" not in name}


@pytest.fixture
def blk(kernel_6_1: KernelPackage) -> bytes:
    tree = ModuleTree(kernel_6_1.modules)
    return tree.read(tree.files["virtio_blk"])


def test_symbols_modinfo_and_build_id_equal_those_of_the_tools(
    kernel: KernelPackage, tmp_path: Path
) -> None:
    modules = _virtio_modules(kernel)
    assert len(modules) >= 12
    for file, data in modules.items():
        path = tmp_path / "module.ko"
        path.write_bytes(data)
        module = Module(data, file)
        ours = {n: {(f.offset, f.size) for f in found} for n, found in module.functions.items()}
        assert ours == _readelf_functions(path)
        aliases = [value for key, value in module.modinfo() if key == "alias"]
        assert sorted(aliases) == sorted(_run("modinfo", "-F", "alias", path).split())
        note = re.search(r"Build ID: ([0-9a-f]+)", _run("readelf", "-n", path))
        assert note and module.build_id == note[1]


def test_two_functions_of_one_name(kernel_6_1: KernelPackage) -> None:
    tree = ModuleTree(kernel_6_1.modules)
    module = Module(tree.read(tree.files["virtio_pci"]), "virtio_pci.ko")
    twice = module.functions["vp_set_status"]
    assert len(twice) == 2
    assert twice[0] != twice[1]
    assert isinstance(twice[0], Function)
    assert len(module.functions["virtio_pci_probe"]) == 1
    assert "virtnet_probe" not in module.functions
    assert not [name for name in module.functions if name.endswith(".cold")]


def test_the_init_function_has_its_own_name_and_its_call_is_found(blk: bytes) -> None:
    module = Module(blk, "virtio_blk.ko")
    assert module.init == "virtio_blk_init"
    (call,) = module.calls(struct_search.REGISTER_DRIVER)
    assert (call.caller, call.callee) == ("virtio_blk_init", "register_virtio_driver")
    start = module.functions["virtio_blk_init"][0].offset
    instruction = module.bytes_at(call.place._replace(offset=start + call.offset), 1)
    assert instruction == b"\xe8"  # x86: call rel32


def test_layout_by_order_fits_the_data(blk: bytes) -> None:
    module = Module(blk, "virtio_blk.ko")
    (facts,) = in_modules.virtio_drivers(module, _LAYOUT, "virtio_blk.ko")
    assert facts.ids == ((2, 0xFFFFFFFF),)
    assert facts.functions["probe"] == "virtblk_probe"
    assert facts.functions["validate"] is None
    (found,) = struct_search.virtio_structs(module, _LAYOUT)
    modern, legacy = in_modules.features(module, found, _LAYOUT.structs["virtio_driver"])
    assert {1, 2, 9, 12} <= set(modern)  # SIZE_MAX, SEG_MAX, FLUSH, MQ (uapi virtio_blk.h)
    assert {1, 2, 9, 12} <= set(legacy)


def test_a_driver_is_recognised_by_its_data_too(blk: bytes) -> None:
    """It is registered in an unknown way: through a pointer, or by another function."""
    module = Module(blk.replace(b"register_virtio_driver", b"register_virtio_dXXXXX"), "x.ko")
    assert not module.calls(struct_search.REGISTER_DRIVER)
    (facts,) = in_modules.virtio_drivers(module, _LAYOUT, "x.ko")
    (same,) = in_modules.virtio_drivers(Module(blk, "x.ko"), _LAYOUT, "x.ko")
    assert facts == same


@pytest.mark.parametrize(
    ("at", "new", "says"),
    [
        (0, b"#!/b", "not an ELF"),
        (4, b"\x01", "not 64-bit"),
        (5, b"\x02", "little-endian"),
        (18, b"\x16\x00", "machine EM_S390"),
        (16, b"\x03\x00", "not a relocatable"),
        (40, b"\xff" * 8, "damaged"),
        (58, b"\x00\x00", "damaged"),
        (60, b"\xff\xff", "damaged"),
    ],
)
def test_other_kinds_of_file_are_refused_by_name(
    blk: bytes, at: int, new: bytes, says: str
) -> None:
    with pytest.raises(BadInputError, match=says) as caught:
        Module(blk[:at] + new + blk[at + len(new) :], "some.ko")
    assert str(caught.value).startswith("some.ko: ")
    assert "\n" not in str(caught.value)
    assert caught.value.hint


def test_an_empty_file_is_refused() -> None:
    with pytest.raises(BadInputError, match="is empty"):
        Module(b"", "some.ko")


def test_sections_that_overlap_do_not_fill_the_memory(blk: bytes) -> None:
    table, count = int.from_bytes(blk[40:48], "little"), int.from_bytes(blk[60:62], "little")
    data = bytearray(blk)
    for header in range(table + 64, table + 64 * (count - 1), 64):
        data[header + 24 : header + 40] = bytes(8) + len(blk).to_bytes(8, "little")
    with pytest.raises(BadInputError, match="overlap"):
        Module(bytes(data), "bomb.ko")


def test_every_truncation_is_refused(blk: bytes) -> None:
    # the ELF file ends with the section table; a signature follows
    end = int.from_bytes(blk[40:48], "little") + 64 * int.from_bytes(blk[60:62], "little")
    assert end < len(blk)
    for size in (*range(0, 128), *range(128, end, end // 100), end - 1):
        with pytest.raises(BadInputError):
            Module(blk[:size], "cut.ko")


@pytest.mark.parametrize("name", ["virtio_blk", "virtio_pci"])
def test_damage_raises_nothing_else(kernel_6_1: KernelPackage, name: str) -> None:
    tree = ModuleTree(kernel_6_1.modules)
    blk = tree.read(tree.files[name])
    chance = random.Random(4)
    header = Module(blk, "whole.ko")
    _use(header)
    hot = [s.offset for s in header.sections if s.name in (".symtab", ".strtab", ".rela.data")]
    table = int.from_bytes(blk[40:48], "little")
    refused = 0
    for i in range(400):
        data = bytearray(blk)
        start, size = chance.choice(
            [(0, 64), (table, len(blk) - table), (0, len(blk)), *((at, 512) for at in hot)]
        )
        for _ in range(chance.choice((1, 3, 20))):
            position = min(start + chance.randrange(size), len(data) - 1)
            data[position] = chance.choice((0, 255, chance.randrange(256)))
        try:
            _use(Module(bytes(data), f"mutation {i}"))
        except VirtioTraceError as error:
            assert isinstance(error, BadInputError)
            refused += 1
    assert 50 < refused < 390  # some damage is in bytes that are read, some is not


def _use(module: Module) -> None:
    """Reads everything that is ever read of a file."""
    shape = _LAYOUT.structs["virtio_driver"]
    for found in struct_search.virtio_structs(module, _LAYOUT):
        in_modules.features(module, found, shape)
    in_modules.virtio_drivers(module, _LAYOUT, "x.ko")
    in_modules.transports(module, _LAYOUT, "x.ko")
    list(module.modinfo())
    assert module.functions is not None
    assert module.build_id != ""


def test_sections_that_do_not_fit_into_the_header(blk: bytes) -> None:
    """Their number and the index of their names are in the first section (gABI, e_shnum)."""
    start = int.from_bytes(blk[40:48], "little")
    count, names = (int.from_bytes(blk[at : at + 2], "little") for at in (60, 62))
    data = bytearray(blk)
    data[60:64] = b"\0\0\xff\xff"
    data[start + 32 : start + 40] = count.to_bytes(8, "little")
    data[start + 40 : start + 44] = names.to_bytes(4, "little")
    plain, moved = Module(blk, "x.ko"), Module(bytes(data), "x.ko")
    assert moved.sections[1:] == plain.sections[1:]
    assert moved.symbols == plain.symbols
