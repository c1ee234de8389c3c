# SPDX-License-Identifier: GPL-2.0-or-later
"""kernel/files/btf.py and vmlinuz.py against bpftool and readelf, and with damaged files."""

from __future__ import annotations

import json
import random
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from virtio_trace.errors import BadInputError, CannotTraceError
from virtio_trace.kernel.drivers import layout
from virtio_trace.kernel.files import btf as btf_module
from virtio_trace.kernel.files import vmlinuz
from virtio_trace.kernel.files.btf import Btf
from virtio_trace.kernel.files.elf import Module
from virtio_trace.kernel.files.module_tree import ModuleTree
from virtio_trace.vm.host.debian import KernelPackage


@pytest.fixture(scope="session")
def raw(kernel: KernelPackage) -> bytes:
    return vmlinuz.btf_bytes(kernel.vmlinuz.read_bytes(), "vmlinuz")


@pytest.fixture(scope="session")
def raw_file(raw: bytes, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("btf") / "vmlinux.btf"
    path.write_bytes(raw)
    return path


def _bpftool(*words: str | Path) -> dict[int, dict[str, Any]]:
    done = subprocess.run(["bpftool", "-j", *words], check=True, capture_output=True)
    return {entry["id"]: entry for entry in json.loads(done.stdout)["types"]}


def _flat(types: dict[int, dict[str, Any]], entry: dict[str, Any], at: int = 0) -> dict[str, int]:
    """Member to offset in bits, without bitfields, with the members of anonymous structs."""
    out: dict[str, int] = {}
    for member in entry["members"]:
        start = at + member["bits_offset"]
        if member["name"] != "(anon)":
            if not member.get("bitfield_size") and start % 8 == 0:
                out[member["name"]] = start
        elif types[member["type_id"]]["kind"] in ("STRUCT", "UNION"):
            out |= _flat(types, types[member["type_id"]], start)
    return out


def _first(types: dict[int, dict[str, Any]], name: str) -> dict[str, Any]:
    return next(t for t in types.values() if t["kind"] == "STRUCT" and t["name"] == name)


def test_offsets_equal_those_of_bpftool(kernel_btf: Btf, raw_file: Path) -> None:
    types = _bpftool("btf", "dump", "file", raw_file)
    for name in ("device", "device_driver", "pci_dev", "pci_driver", "platform_driver", "page"):
        entry = _first(types, name)
        assert kernel_btf.size(name) == entry["size"]
        flat = _flat(types, entry)
        assert len(flat) > 5
        for member, bits in flat.items():
            assert kernel_btf.offset(name, member) * 8 == bits, f"{name}.{member}"


def test_a_modules_types_are_based_on_its_kernels(
    kernel: KernelPackage, kernel_btf: Btf, raw_file: Path, tmp_path: Path
) -> None:
    tree = ModuleTree(kernel.modules)
    path = tmp_path / "virtio_blk.ko"
    path.write_bytes(tree.read(tree.files["virtio_blk"]))
    types = _bpftool("-B", raw_file, "btf", "dump", "file", path)
    module = Module(path.read_bytes(), path.name)
    section = module.section(".BTF")
    assert section
    split = Btf(module.contents(section), path.name, kernel_btf)
    assert not kernel_btf.has("virtio_blk")
    entry = _first(types, "virtio_blk")
    assert split.size("virtio_blk") == entry["size"]
    for member, bits in _flat(types, entry).items():
        assert split.offset("virtio_blk", member) * 8 == bits
    assert split.size("device") == kernel_btf.size("device")


def test_paths_through_structs(kernel_btf: Btf) -> None:
    device = kernel_btf.offset("pci_dev", "dev")
    assert kernel_btf.offset("pci_dev", "dev.kobj.name") == device + kernel_btf.offset(
        "device", "kobj.name"
    )
    assert kernel_btf.functions("pci_driver").keys() >= {"probe", "remove", "sriov_configure"}
    assert "id_table" not in kernel_btf.functions("pci_driver")


def test_missing_structs_and_members(kernel_btf: Btf) -> None:
    assert not kernel_btf.has("no_such_struct")
    for path in ("nope", "parent.bus", ""):
        with pytest.raises(CannotTraceError, match="struct device"):
            kernel_btf.offset("device", path)
    with pytest.raises(CannotTraceError, match="bitfield"):
        kernel_btf.offset("device", "offline")
    with pytest.raises(CannotTraceError, match="no struct no_such_struct"):
        kernel_btf.size("no_such_struct")


def test_the_order_of_members_agrees_with_btf(kernel_6_1: KernelPackage) -> None:
    """5.10 is read by this order; 6.1 has BTF to check it."""
    base = vmlinuz.btf(kernel_6_1.vmlinuz)
    tree = ModuleTree(kernel_6_1.modules)
    module = Module(tree.read(tree.files["virtio"]), "virtio.ko")
    section = module.section(".BTF")
    assert section
    split = Btf(module.contents(section), "virtio.ko", base)
    ordered = layout.by_order(base.size("device_driver"))
    assert layout.struct_from_btf(split, "virtio_driver") == ordered


def test_the_section_equals_that_of_readelf(
    kernel: KernelPackage, raw: bytes, tmp_path: Path
) -> None:
    image = kernel.vmlinuz.read_bytes()
    packed = {"zstd": b"\x28\xb5\x2f\xfd", "lz4": b"\x02\x21\x4c\x18", "xz": b"\xfd7zXZ\0"}
    vmlinux = b""
    for program, magic in packed.items():
        at = image.find(magic)
        if at >= 0 and not vmlinux.startswith(b"\x7fELF"):
            done = subprocess.run(
                [program, "-dc"], check=False, input=image[at:], capture_output=True
            )
            vmlinux = done.stdout  # its exit status is about the bytes after the payload
    path = tmp_path / "vmlinux"
    path.write_bytes(vmlinux)
    table = subprocess.run(["readelf", "-SW", path], check=True, capture_output=True, text=True)
    found = re.search(r"\.BTF +PROGBITS +\S+ (\S+) (\S+)", table.stdout)
    assert found
    start, size = int(found[1], 16), int(found[2], 16)
    assert vmlinux[start : start + size] == raw


def test_no_image_and_no_btf_are_refused(kernel_6_1: KernelPackage, tmp_path: Path) -> None:
    image = kernel_6_1.vmlinuz.read_bytes()
    for data in (b"", b"\x7fELF", b"x" * 5000, image[:600], image[: len(image) // 2]):
        with pytest.raises(BadInputError):
            vmlinuz.btf_bytes(data, "x")
        with pytest.raises(BadInputError):
            Btf(data, "x")
    with pytest.raises(BadInputError, match="Is a directory"):
        vmlinuz.btf(tmp_path)
    with pytest.raises(BadInputError, match="No such file"):
        Btf.from_file(tmp_path / "gone")


def test_damaged_btf_raises_nothing_else(raw: bytes) -> None:
    chance, refused = random.Random(5), 0
    for _ in range(150):
        data = bytearray(raw)
        for _ in range(chance.choice((1, 10))):
            position = chance.randrange(chance.choice((32, 5000, len(data))))
            data[position] = chance.randrange(256)
        try:
            types = Btf(bytes(data), "damaged")
            layout.from_btf(types)
            types.offset("pci_dev", "dev.kobj.name")
        except (BadInputError, CannotTraceError):
            refused += 1
    assert 10 < refused < 150


def test_a_kernel_without_btf(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(btf_module, "RUNNING", tmp_path)
    with pytest.raises(CannotTraceError) as caught:
        Btf.running()
    assert "CONFIG_DEBUG_INFO_BTF" in caught.value.hint
