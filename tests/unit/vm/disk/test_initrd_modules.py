# SPDX-License-Identifier: GPL-2.0-or-later
"""The modules in an initrd; the initrds are made by cpio and the programs that compress them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.unit.vm.disk.initrds import (
    KEPT,
    MODULES,
    PROGRAMS,
    RELEASE,
    archive,
    compressed,
    extract,
    modules,
    packed,
)
from virtio_trace.errors import BadInputError, CannotTraceError
from virtio_trace.kernel.files.module_tree import ModuleTree
from virtio_trace.vm.disk import initrd_modules

_OTHER = {"init": b"#!/bin/sh\n", "usr/lib/modules.txt": b"x"}
_MICROCODE = {"kernel/x86/microcode/GenuineIntel.bin": os.urandom(5000)}


@pytest.mark.parametrize("kind", PROGRAMS)
@pytest.mark.parametrize("prefix", ["usr/lib/modules", "lib/modules"])
def test_microcode_then_an_archive_of_each_kind(tmp_path: Path, kind: str, prefix: str) -> None:
    early = archive(tmp_path / "early", _MICROCODE)
    main = archive(tmp_path / "main", _OTHER | modules(prefix))
    found, notes = extract(tmp_path, early + bytes(1024) + compressed(main, kind))
    assert found == KEPT
    assert notes == []


@pytest.mark.parametrize("kind", PROGRAMS)
def test_what_follows_compressed_data_is_found(tmp_path: Path, kind: str) -> None:
    """Padded and not, in the same file; the end of the compressed data must be exact."""
    files = list(modules().items())
    parts = [
        compressed(archive(tmp_path / str(n), {name: data}), kind)
        for n, (name, data) in enumerate(files)
    ]
    found, notes = extract(tmp_path, parts[0] + parts[1] + bytes(7) + parts[2] + parts[3])
    assert found == KEPT
    assert notes == []


def test_modules_uncompressed_and_their_lists_in_the_archive_after_it(tmp_path: Path) -> None:
    """Debian 13's layout."""
    files = modules()
    first = {name: data for name, data in files.items() if name.endswith(".ko")}
    second = {name: data for name, data in files.items() if name not in first}
    initrd = archive(tmp_path / "a", first) + compressed(archive(tmp_path / "b", second), "zstd")
    assert extract(tmp_path, initrd) == (KEPT, [])


def test_several_files_of_which_the_last_replaces(tmp_path: Path) -> None:
    name = f"lib/modules/{RELEASE}/kernel/drivers/block/virtio_blk.ko"
    first = archive(tmp_path / "a", modules())
    found, _ = extract(tmp_path, first, archive(tmp_path / "b", {name: b"newer"}))
    assert found == {**KEPT, "kernel/drivers/block/virtio_blk.ko": b"newer"}


def test_hard_links_have_the_same_content(tmp_path: Path) -> None:
    """cpio writes the content once. dracut links equal files."""
    archive(tmp_path / "a", modules())
    folder = tmp_path / "a/usr/lib/modules" / RELEASE
    for name in ("kernel/virtio_a.ko", "updates/virtio_z.ko"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).hardlink_to(folder / "kernel/drivers/block/virtio_blk.ko")
    with (folder / "modules.dep").open("a") as dep:
        dep.write("kernel/virtio_a.ko:\nupdates/virtio_z.ko:\n")
    found, _ = extract(tmp_path, packed(tmp_path / "a"))
    assert found is not None
    content = KEPT["kernel/drivers/block/virtio_blk.ko"]
    assert found["kernel/virtio_a.ko"] == found["updates/virtio_z.ko"] == content
    assert found["kernel/drivers/block/virtio_blk.ko"] == content


def test_without_lists_all_modules_are_kept_and_builtin_is_unknown(tmp_path: Path) -> None:
    files = {name: data for name, data in modules().items() if name.endswith(".ko")}
    found, notes = extract(tmp_path, archive(tmp_path / "a", files))
    assert found == {name: data for name, data in MODULES.items() if name.endswith(".ko")}
    (note,) = notes
    assert note.startswith("initrd-0 has no modules.builtin: which of VirtIO is built into")
    tree = ModuleTree(tmp_path / "scratch/lib/modules" / RELEASE)
    assert (tree.release, tree.builtin) == (RELEASE, ())
    assert set(tree.files) == {"virtio_blk", "ext4"}


def test_the_only_release_if_the_kernel_has_none(tmp_path: Path) -> None:
    found, notes = extract(tmp_path, archive(tmp_path / "a", modules()), release=None)
    assert (found, notes) == (KEPT, [])


def test_two_releases_are_refused_if_the_kernel_has_none(tmp_path: Path) -> None:
    both = archive(tmp_path / "a", modules() | modules(release="6.12"))
    with pytest.raises(BadInputError, match=f"has modules of {RELEASE}, 6.12: ") as refused:
        extract(tmp_path, both, release=None)
    assert refused.value.hint == "give the kernel's modules: --modules DIR"


def test_of_two_releases_the_kernels(tmp_path: Path) -> None:
    more = {f"lib/modules/{n}/kernel/x.ko": b"x" for n in range(1, 30)}
    found, _ = extract(tmp_path, archive(tmp_path / "a", more | modules()))
    assert found == KEPT
    assert [path.name for path in (tmp_path / "scratch/lib/modules").iterdir()] == [RELEASE]


@pytest.mark.parametrize(
    ("files", "release", "note"),
    [
        (_OTHER, RELEASE, f"initrd-0 has no modules of {RELEASE}"),
        (_OTHER, None, "initrd-0 has no modules of any kernel"),
        (modules(), "6.12", f"initrd-0 has no modules of 6.12, only of {RELEASE}"),
    ],
)
def test_an_initrd_without_the_kernels_modules(
    tmp_path: Path, files: dict[str, bytes], release: str | None, note: str
) -> None:
    assert extract(tmp_path, archive(tmp_path / "a", files), release=release) == (None, [note])


def test_progress_ends_once(tmp_path: Path) -> None:
    initrd = tmp_path / "initrd"
    initrd.write_bytes(compressed(archive(tmp_path / "a", modules()), "gzip"))
    seen: list[tuple[str, float | None]] = []
    (tmp_path / "scratch").mkdir()
    initrd_modules.extract(
        [initrd], None, tmp_path / "scratch", lambda *news: seen.append(news), []
    )
    done = [part for _, part in seen if part is not None]
    assert {what for what, _ in seen} == {"reading initrd"}
    assert done == sorted(done)
    assert done.count(1.0) == 1
    assert len(done) > 2


def test_without_the_program_lz4_its_package_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    initrd = compressed(archive(tmp_path / "a", modules()), "lz4")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(CannotTraceError, match="initrd-0: needs the program lz4") as refused:
        extract(tmp_path, initrd)
    assert refused.value.hint == "apt install lz4"
