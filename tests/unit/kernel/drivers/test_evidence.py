# SPDX-License-Identifier: GPL-2.0-or-later
"""kernel/drivers/evidence.py and files/module_tree.py on real trees, compared with modinfo."""

from __future__ import annotations

import gzip
import json
import lzma
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from virtio_trace.errors import BadInputError
from virtio_trace.kernel.drivers.evidence import Symbols, read_evidence
from virtio_trace.kernel.files import compression
from virtio_trace.kernel.files.btf import Btf
from virtio_trace.kernel.files.module_tree import ModuleTree, module_name
from virtio_trace.recording.evidence import Evidence
from virtio_trace.vm.host.debian import KernelPackage


@pytest.fixture(scope="session")
def evidence(kernel: KernelPackage, kernel_btf: Btf) -> Evidence:
    return read_evidence(ModuleTree(kernel.modules), kernel_btf)


@pytest.fixture
def small(kernel: KernelPackage, tmp_path: Path) -> ModuleTree:
    """A copy of the tree's virtio modules, for tests that change it."""
    tree = ModuleTree(kernel.modules)
    copy = tmp_path / "lib/modules" / tree.release
    for name, file in tree.files.items():
        if "virtio" in name or name in ("fuse", "loop"):
            (copy / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(kernel.modules / file, copy / file)
    for listed in kernel.modules.glob("modules.*"):
        shutil.copy(listed, copy)
    (copy / "build").symlink_to("/nowhere/linux-headers")
    return ModuleTree(copy)


def _depmod(tree: ModuleTree) -> ModuleTree:
    base = tree.path.parent.parent.parent
    depmod = shutil.which("depmod", path="/usr/sbin:/sbin:/usr/bin:/bin")
    assert depmod
    subprocess.run([depmod, "-b", base, tree.release], check=True, capture_output=True)
    return ModuleTree(tree.path)


def _aliases(tree: ModuleTree) -> dict[str, set[str]]:
    """Module to its virtio: aliases, by modinfo, in the whole tree."""
    out = {}
    for name, file in tree.files.items():
        if b"virtio:d" in tree.read(file):
            command = ["modinfo", "-F", "alias", str(tree.path / file)]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            out[name] = {alias for alias in done.stdout.split() if alias.startswith("virtio:")}
    return {name: found for name, found in out.items() if found}


def test_every_module_with_a_virtio_alias_has_its_driver(
    kernel: KernelPackage, evidence: Evidence
) -> None:
    aliases = _aliases(ModuleTree(kernel.modules))
    assert len(aliases) > 8
    assert {d.module for d in evidence.drivers} == aliases.keys()
    for driver in evidence.drivers:
        assert set(driver.aliases) == aliases[driver.module]
        if driver.ids:  # virtio_rproc_serial has none without CONFIG_REMOTEPROC
            table = {(f"virtio:d{device:08X}v*", vendor) for device, vendor in driver.ids}
            assert table == {(alias, 0xFFFFFFFF) for alias in aliases[driver.module]}
    assert evidence.unread == {}


def test_virtio_net_agrees_with_its_source(kernel: KernelPackage, evidence: Evidence) -> None:
    net = evidence.driver("virtio_net")
    assert net
    assert net.ids == ((1, 0xFFFFFFFF),)
    assert net.struct == "virtio_net_driver"
    assert net.init == "virtio_net_driver_init"
    assert (kernel.modules / net.file).is_file()
    assert net.functions == {
        "validate": "virtnet_validate",
        "probe": "virtnet_probe",
        "scan": None,
        "remove": "virtnet_remove",
        "config_changed": "virtnet_config_changed",
        "freeze": "virtnet_freeze",
        "restore": "virtnet_restore",
    }
    assert evidence.drivers_for(1, 0x1AF4) == (net,)


def test_transports_in_modules_or_built_in(evidence: Evidence) -> None:
    ways = {t.module: t for t in evidence.transports}
    assert ways["virtio_mmio"].functions["probe"] == "virtio_mmio_probe"
    assert "of:N*T*Cvirtio,mmio" in ways["virtio_mmio"].matches
    if "virtio_pci" in evidence.builtin:
        assert "virtio_pci" not in ways
    else:
        pci = ways["virtio_pci"]
        assert (pci.name, pci.struct, pci.bus) == ("virtio-pci", "virtio_pci_driver", "pci")
        assert pci.matches == ("pci:v00001AF4d*",)
        assert pci.functions["probe"] == "virtio_pci_probe"
        assert pci.functions["remove"] == "virtio_pci_remove"


def test_it_is_the_same_after_the_recordings_header(evidence: Evidence) -> None:
    assert Evidence.from_json(json.loads(json.dumps(evidence.to_json()))) == evidence


def test_depmods_files_change_only_the_time(small: ModuleTree, kernel_btf: Btf) -> None:
    before = read_evidence(small, kernel_btf)
    indexed = _depmod(small)
    assert indexed.depends
    assert len(indexed.virtio_candidates()) < len(indexed.files)
    assert read_evidence(indexed, kernel_btf) == before
    assert len(before.drivers) > 8


def test_an_out_of_tree_driver_is_read_too(small: ModuleTree, kernel_btf: Btf) -> None:
    """Its name and aliases do not mention virtio; updates/ and extra/ come first."""
    data = small.read(small.files["virtio_rng"]).replace(b"alias=virtio:", b"alias=acme00:")
    for folder, name in (("updates/dkms", "acme"), ("extra", "virtio_rng")):
        (small.path / folder).mkdir(parents=True)
        (small.path / folder / f"{name}.ko").write_bytes(data)
    for tree in (ModuleTree(small.path), _depmod(small)):
        found = {d.file: d for d in read_evidence(tree, kernel_btf).drivers}
        assert found["updates/dkms/acme.ko"].functions["probe"] == "virtrng_probe"
        if not tree.depends:
            assert tree.files["virtio_rng"] == "extra/virtio_rng.ko"


def test_the_others_are_read_despite_a_damaged_file(small: ModuleTree, kernel_btf: Btf) -> None:
    whole = read_evidence(small, kernel_btf)
    cut = small.path / small.files["virtio_blk"]
    cut.write_bytes(cut.read_bytes()[:5000])
    (small.path / "kernel/virtio_empty.ko").write_bytes(b"")
    (small.path / "kernel/virtio_text.ko").write_bytes(b"register_virtio_driver, they said")
    (small.path / "kernel/virtio_gone.ko").symlink_to("/nowhere")
    os.mkfifo(small.path / "kernel/virtio_fifo.ko")
    found = read_evidence(ModuleTree(small.path), kernel_btf)
    assert {d.name for d in whole.drivers} - {d.name for d in found.drivers} == {"virtio_blk"}
    assert found.unread.keys() == {
        small.files["virtio_blk"],
        *(f"kernel/virtio_{name}.ko" for name in ("empty", "text", "gone", "fifo")),
    }
    assert all(reason and "\n" not in reason for reason in found.unread.values())


def test_a_struct_that_cannot_be_read_is_reported(small: ModuleTree, kernel_btf: Btf) -> None:
    """The module registers a driver, but the struct has lost its relocations."""
    module = bytearray(small.read(small.files["virtio_blk"]))
    _drop_relocations(module)
    (small.path / "kernel/blind.ko").write_bytes(module)
    found = read_evidence(ModuleTree(small.path), kernel_btf)
    assert "not found" in found.unread["kernel/blind.ko"]


def _drop_relocations(data: bytearray) -> None:
    """Turns every SHT_RELA section for data into SHT_NOTE, which is ignored."""
    start, count = int.from_bytes(data[40:48], "little"), int.from_bytes(data[60:62], "little")
    for header in range(start, start + 64 * count, 64):
        kind = int.from_bytes(data[header + 4 : header + 8], "little")
        target = start + 64 * int.from_bytes(data[header + 44 : header + 48], "little")
        executable = kind == 4 and data[target + 8] & 4
        if kind == 4 and not executable:
            data[header + 4] = 7


def test_symbols_by_module_name(small: ModuleTree) -> None:
    symbols = Symbols(small)
    (probe,) = symbols.functions_of("virtio_net")["virtnet_probe"]
    assert probe.section == ".text"
    assert probe.size > 100
    assert symbols.functions_of("virtio-rng") is symbols.functions_of("virtio_rng")
    with pytest.raises(BadInputError, match="not a module of this tree"):
        symbols.functions_of("no_such")


@pytest.mark.parametrize("how", ["xz", "gz", "zst"])
def test_compressed_files(small: ModuleTree, how: str) -> None:
    data = small.read(small.files["virtio_scsi"])
    if how == "zst":
        packed = subprocess.run(["zstd", "-qc"], input=data, check=True, capture_output=True).stdout
    else:
        packed = lzma.compress(data) if how == "xz" else gzip.compress(data)
    assert compression.unpack(packed, "x") == data
    with pytest.raises(BadInputError, match="more than"):
        compression.unpack(packed, "x", limit=1000)
    for size in (len(packed) // 2, len(packed) - 1):
        with pytest.raises(BadInputError, match=r"cut short|damaged"):
            compression.unpack(packed[:size], "x")
    with pytest.raises(BadInputError, match=r"damaged|cut short|more than"):
        compression.unpack(packed[:40] + bytes(len(packed) - 40), "x")


def test_names_are_as_in_lsmod() -> None:
    assert module_name("kernel/drivers/char/hw_random/virtio-rng.ko.xz") == "virtio_rng"
    assert module_name("virtio_net.ko.zst") == module_name("a/virtio_net.ko") == "virtio_net"


def test_folders_that_are_not_trees(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    for path, says in ((tmp_path / "gone", "No such"), (tmp_path / "file", "Not a directory")):
        with pytest.raises(BadInputError, match=says):
            ModuleTree(path)
    with pytest.raises(BadInputError, match="not a module tree"):
        ModuleTree(tmp_path)


def test_no_fact_is_empty(evidence: Evidence) -> None:
    for facts in (*evidence.to_json()["drivers"], *evidence.to_json()["transports"]):
        assert all(value != "" for value in facts.values())


def test_aliases_of_built_in_modules(small: ModuleTree, kernel_btf: Btf) -> None:
    """6.18 and later have them in modules.builtin.modinfo; only those of VirtIO are kept."""
    assert read_evidence(small, kernel_btf).builtin_aliases == {}
    (small.path / "modules.builtin.modinfo").write_bytes(
        b"virtiofs.alias=fs-virtiofs\0virtiofs.alias=virtio:d0000001Av*\0"
        b"virtio_pci.alias=pci:v00001AF4d*sv*sd*bc*sc*i*\0"
    )
    found = read_evidence(ModuleTree(small.path), kernel_btf)
    assert found.builtin_aliases == {"virtiofs": ("virtio:d0000001Av*",)}
    assert Evidence.from_json(json.loads(json.dumps(found.to_json()))) == found
    assert (found.builtin_for(26, 0x1AF4), found.builtin_for(27, 0x1AF4)) == ("virtiofs", None)
