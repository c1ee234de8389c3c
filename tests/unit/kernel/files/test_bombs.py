# SPDX-License-Identifier: GPL-2.0-or-later
"""Small files that unpack to much, and sparse ones: memory is bounded, and the reason is given."""

from __future__ import annotations

import gzip
import lzma
import re
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from virtio_trace.cli import main
from virtio_trace.errors import BadInputError
from virtio_trace.kernel.files import compression, module_tree, vmlinuz
from virtio_trace.kernel.files.module_tree import ModuleTree
from virtio_trace.vm.host.debian import KernelPackage

ZEROS = 128 << 20
MEMORY = 1200 << 20
"""Address space of the process, in bytes; 12 files of ZEROS would need more."""
BOMBS = {
    "xz": ("xz", "-0c", "--check=crc32"),
    "zst": ("zstd", "-1qc"),
    "gz": ("gzip", "-1c"),
}


@pytest.fixture(scope="module", params=BOMBS)
def bomb(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tree of 12 modules, each of which unpacks to ZEROS bytes."""
    tree = tmp_path_factory.mktemp("bombs") / "6.1"
    (tree / "kernel").mkdir(parents=True)
    zeros = tree.parent / "zeros"
    with zeros.open("wb") as file:
        file.truncate(ZEROS)
    first = tree / f"kernel/virtio_0.ko.{request.param}"
    with zeros.open("rb") as source, first.open("wb") as out:
        subprocess.run(BOMBS[request.param], stdin=source, stdout=out, check=True)
    assert first.stat().st_size < 1 << 20
    for number in range(1, 12):
        shutil.copy(first, tree / f"kernel/virtio_{number}.ko.{request.param}")
    return tree


def test_a_tree_of_bombs_fills_no_memory_and_gives_5(bomb: Path) -> None:
    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))

    done = subprocess.run(
        [sys.executable, "-m", "virtio_trace", "inspect", bomb],
        preexec_fn=limit,
        check=False,
        capture_output=True,
        text=True,
    )
    *reasons, last, _hint = done.stderr.splitlines()
    assert len(reasons) == 12
    assert all(re.search(r"unpacks to more than \d\d MB$", reason) for reason in reasons)
    assert last == "virtio-trace: none of the files could be read"
    assert (done.returncode, done.stdout) == (5, "")


def test_one_file_that_can_be_read_is_enough(
    kernel_6_1: KernelPackage, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tree = tmp_path / kernel_6_1.release
    (tree / "kernel").mkdir(parents=True)
    (tree / "kernel/virtio_bad.ko").write_bytes(b"not an ELF file")
    assert main.run(["inspect", str(tree)]) == 5
    assert "none of the files could be read" in capsys.readouterr().err
    whole = ModuleTree(kernel_6_1.modules)
    (tree / "kernel/virtio_blk.ko").write_bytes(whole.read(whole.files["virtio_blk"]))
    assert main.run(["inspect", str(tree)]) == 0
    said = capsys.readouterr()
    assert "virtio_blk" in said.out
    assert "virtio_bad.ko: is not an ELF file" in said.err


def test_a_tree_without_virtio_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "kernel").mkdir()
    assert main.run(["inspect", str(tmp_path)]) == 0


def test_all_files_together_are_bounded(
    kernel_6_1: KernelPackage, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, unread = ModuleTree(kernel_6_1.modules).virtio_files()
    assert not unread
    monkeypatch.setattr(module_tree, "MAX_KEPT", sum(map(len, whole.values())) // 2)
    found, unread = ModuleTree(kernel_6_1.modules).virtio_files()
    assert found.keys() | unread.keys() == whole.keys()
    assert sum(map(len, found.values())) <= module_tree.MAX_KEPT
    assert all("those before it have more than" in reason for reason in unread.values())


def test_a_damaged_file_is_not_kept_whole(tmp_path: Path) -> None:
    (tmp_path / "kernel").mkdir()
    (tmp_path / "kernel/a.ko").write_bytes(b"\x7fELF\x02\x01" + bytes(40 << 20))
    with (tmp_path / "kernel/b.ko").open("wb") as file:
        file.truncate(8 << 20)
    found, _unread = ModuleTree(tmp_path).virtio_files()
    assert len(found["kernel/b.ko"]) <= 4096


@pytest.mark.parametrize("pack", [gzip.compress, lzma.compress])
def test_an_image_that_is_a_bomb(tmp_path: Path, pack: object) -> None:
    assert callable(pack)
    packed = pack(bytes(32 << 20))
    path = tmp_path / "vmlinuz"
    if packed[:2] == b"\x1f\x8b":
        path.write_bytes(packed)
    else:  # an EFI zboot image
        head = b"MZ\0\0zimg" + (64).to_bytes(4, "little") + len(packed).to_bytes(4, "little")
        path.write_bytes(head.ljust(64, b"\0") + packed)
    for read in (vmlinuz.types, vmlinuz.btf):
        with pytest.raises(BadInputError, match="unpacks to more than 16 MB"):
            read(path)


def test_how_much_a_file_may_unpack_to() -> None:
    assert compression.limit_for(0) == compression.limit_for(1000) == compression.SMALL
    assert compression.limit_for(1 << 20) == compression.MAX_RATIO << 20
    assert compression.limit_for(1 << 30) == compression.MAX_BYTES
    assert compression.limit_for(1 << 30, 5) == 5


def test_sparse_files_are_refused_unread(tmp_path: Path) -> None:
    for name in ("vmlinuz", "virtio.ko", "modules.dep"):
        with (tmp_path / name).open("wb") as file:
            file.truncate(50 << 30)
    with pytest.raises(BadInputError, match="vmlinuz: is larger than 256 MB"):
        vmlinuz.types(tmp_path / "vmlinuz")
    found, unread = ModuleTree(tmp_path).virtio_files()
    assert found == {}
    assert "is larger than 256 MB" in unread["virtio.ko"]


def test_names_that_lead_out_of_the_tree_are_ignored(tmp_path: Path) -> None:
    tree, outside = tmp_path / "tree", tmp_path / "virtio_outside.ko"
    tree.mkdir()
    outside.write_bytes(b"register_virtio_driver")
    inside = "kernel/virtio..x.ko"
    lines = (f"../{outside.name}:", f"{outside}:", f"kernel/../../{outside.name}:", f"{inside}:")
    (tree / "modules.dep").write_text("\n".join(lines))
    assert list(ModuleTree(tree).files.values()) == [inside]
