# SPDX-License-Identifier: GPL-2.0-or-later
"""Hostile and damaged initrds: nothing leaves the scratch folder, nothing grows without end."""

from __future__ import annotations

import os
import re
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit.vm.disk.initrds import (
    KEPT,
    PROGRAMS,
    RELEASE,
    archive,
    compressed,
    extract,
    modules,
)
from virtio_trace.errors import BadInputError
from virtio_trace.vm.disk import initramfs, initrd_modules

_BASE = f"usr/lib/modules/{RELEASE}"


def entry(
    name: str, data: bytes = b"", mode: int = stat.S_IFREG | 0o644, size: int | None = None
) -> bytes:
    """One entry of a newc archive; cpio.Writer refuses such names."""
    encoded = os.fsencode(name) + b"\0"
    length = len(data) if size is None else size
    numbers = (1, mode, 0, 0, 1, 0, length, 0, 0, 0, 0, len(encoded), 0)
    head = b"070701" + b"".join(b"%08x" % number for number in numbers) + encoded
    return head + bytes(-len(head) % 4) + data + bytes(-len(data) % 4)


END = entry("TRAILER!!!", mode=0)
GOOD = entry(f"{_BASE}/kernel/virtio_blk.ko", b"good") + entry(f"{_BASE}/modules.builtin")


def everything(folder: Path) -> set[str]:
    """All paths below FOLDER."""
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


@pytest.mark.parametrize(
    "name",
    [
        f"{_BASE}/../../../../../outside.ko",
        f"{_BASE}/kernel/../../../../../../outside.ko",
        f"../usr/lib/modules/{RELEASE}/outside.ko",
        "usr/lib/modules/../outside/outside.ko",
        "/outside.ko",
        f"{_BASE}/kernel/out\nside.ko",
        f"{_BASE}/kernel/\x1b[31moutside.ko",
        f"{_BASE}/kernel/\udcffoutside.ko",
        f"{_BASE}/kernel/-outside.ko",
        f"{_BASE}/{'d/' * 30}outside.ko",
        f"{_BASE}/{'d' * 300}/outside.ko",
        "usr/lib/modules/-x/outside.ko",
        f"{_BASE}/modules.dep/outside",
        f"x/{_BASE}/outside.ko",
    ],
)
def test_names_that_are_not_taken(tmp_path: Path, name: str) -> None:
    (tmp_path / "home").mkdir()
    found, _ = extract(tmp_path / "home", entry(name, b"evil") + GOOD + END)
    assert found == {"kernel/virtio_blk.ko": b"good", "modules.builtin": b""}
    assert not [path for path in everything(tmp_path) if "outside" in path]
    assert not Path("/outside.ko").exists()


@pytest.mark.parametrize("prefix", ["/", "./", "//./", "/./usr/../"])
def test_an_absolute_name_is_below_the_root_as_in_the_kernel(tmp_path: Path, prefix: str) -> None:
    found, _ = extract(tmp_path, entry(f"{prefix}{_BASE}/kernel/a.ko", b"x") + GOOD + END)
    assert found is not None
    assert ("kernel/a.ko" in found) == (".." not in prefix)


def test_links_and_devices_are_neither_made_nor_followed(tmp_path: Path) -> None:
    outside = tmp_path / "elsewhere"
    outside.mkdir()
    bad = entry(f"{_BASE}/kernel", os.fsencode(outside), stat.S_IFLNK | 0o777)
    bad += entry(f"{_BASE}/modules.dep", b"/etc/passwd", stat.S_IFLNK | 0o777)
    bad += entry(f"{_BASE}/kernel/fifo.ko", b"", stat.S_IFIFO | 0o644)
    bad += entry(f"{_BASE}/kernel/zero.ko", b"", stat.S_IFCHR | 0o644)
    found, _ = extract(tmp_path, bad + GOOD + END)
    assert found == {"kernel/virtio_blk.ko": b"good", "modules.builtin": b""}
    assert list(outside.iterdir()) == []
    kinds = {path.lstat().st_mode & 0o170000 for path in (tmp_path / "scratch").rglob("*")}
    assert kinds == {stat.S_IFDIR, stat.S_IFREG}


def test_a_file_where_a_folder_should_be_and_the_reverse(tmp_path: Path) -> None:
    bad = entry(f"{_BASE}/a.ko", b"1") + entry(f"{_BASE}/a.ko/b.ko", b"2")
    bad += entry(f"{_BASE}/c.ko/d.ko", b"3") + entry(f"{_BASE}/c.ko", b"4")
    found, _ = extract(tmp_path, bad + GOOD + END)
    assert found is not None
    assert (found["a.ko"], found["c.ko/d.ko"]) == (b"1", b"3")


@pytest.mark.parametrize("name", ["/x.ko", "../../x.ko"])
def test_a_list_that_names_files_outside_is_refused(tmp_path: Path, name: str) -> None:
    lists = entry(f"{_BASE}/modules.dep", f"{name}:\n".encode())
    with pytest.raises(BadInputError, match=r"modules.dep names .*, outside its folder"):
        extract(tmp_path, lists + GOOD + END)


@pytest.mark.parametrize("kind", ["gzip", "xz", "lzma", "bzip2", "zstd", "lz4"])
def test_a_bomb_is_refused_and_takes_little_memory_and_disk(tmp_path: Path, kind: str) -> None:
    initrd = tmp_path / "initrd"
    with initrd.open("wb") as out:
        zeros = subprocess.Popen(["head", "-c", "300M", "/dev/zero"], stdout=subprocess.PIPE)
        subprocess.run(PROGRAMS[kind], stdin=zeros.stdout, stdout=out, check=True)
        zeros.wait()
    script = (
        "import sys, resource; from pathlib import Path\n"
        "from virtio_trace.vm.disk import initrd_modules\n"
        "from virtio_trace.vm.host.programs import quiet\n"
        "resource.setrlimit(resource.RLIMIT_AS, (400 << 20, 400 << 20))\n"
        "initrd_modules.extract([Path(sys.argv[1])], None, Path(sys.argv[2]), quiet, [])\n"
    )
    command = [sys.executable, "-c", script, str(initrd), str(tmp_path / "scratch")]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert "BadInputError: initrd unpacks to more than 256 MiB" in done.stderr


def test_a_module_of_too_many_bytes_is_refused_before_it_is_written(tmp_path: Path) -> None:
    for name, most in (("kernel/a.ko", 256), ("modules.dep", 64)):
        large = entry(f"{_BASE}/{name}", size=(most << 20) + 1)
        home = tmp_path / str(most)
        home.mkdir()
        with pytest.raises(BadInputError, match=f"more than the {most} MiB allowed"):
            extract(home, GOOD + large)
        assert not (home / f"scratch/lib/modules/{RELEASE}/{name}").exists()


@pytest.mark.parametrize(
    ("limit", "value", "words"),
    [
        ("MOST_ENTRIES", 3, "has more than 3 entries"),
        ("MOST_PARTS", 3, "has more than 3 archives"),
        ("MOST_SECONDS", -1.0, "takes more than"),
    ],
)
def test_other_limits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str, value: float, words: str
) -> None:
    monkeypatch.setattr(initramfs, limit, value)
    with pytest.raises(BadInputError, match=words) as refused:
        extract(tmp_path, (entry("x") + END) * 4)
    assert refused.value.hint == "give the kernel's modules: --modules DIR"


def test_the_number_of_modules_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(initrd_modules, "_MOST_FILES", 1)
    with pytest.raises(BadInputError, match="has more than 1 modules, or 4 GiB of them"):
        extract(tmp_path, GOOD + END)


@pytest.mark.parametrize(
    ("after", "words"),
    [
        (b"garbage", f"has unknown data at byte {len(GOOD + END)}:"),
        (b"070701", "has an archive that is cut short"),
        (b"070703" + bytes(200), "has a damaged archive"),
        (entry("x", b"y" * 50)[:-8], "has an archive that is cut short"),
        (b"\x1f\x8b\x08\0" + bytes(20), "damaged gzip data"),
        (compressed(END * 9, "xz")[:-9], "its xz data is cut short"),
        (compressed(END, "zstd")[:-5], "its zstd data is cut short"),
        (b"\x28\xb5\x2f\xfd" + b"\xff" * 30, "damaged compressed data"),
        (compressed(END, "lz4")[:-3], "its lz4 data is cut short"),
        (b"\x02\x21\x4c\x18\x05\0\0\0\xff\xff\xff\xff\xff", "damaged lz4 data"),
        (compressed(END + b"junk", "gzip"), "has unknown data after an archive"),
    ],
)
def test_the_kernel_keeps_what_comes_before_damage(
    tmp_path: Path, after: bytes, words: str
) -> None:
    later = GOOD.replace(b"virtio_blk", b"virtio_net")
    found, notes = extract(tmp_path, GOOD + END + after, later + END)
    assert found == {"kernel/virtio_blk.ko": b"good", "modules.builtin": b""}
    (note,) = notes
    assert re.match(f"initrd-0.*{words}.*what follows there is unknown", note), note


def test_a_module_that_is_cut_is_dropped(tmp_path: Path) -> None:
    cut = entry(f"{_BASE}/kernel/virtio_net.ko", b"y" * 5000)[:-100]
    found, _ = extract(tmp_path, GOOD + cut)
    assert found == {"kernel/virtio_blk.ko": b"good", "modules.builtin": b""}


@pytest.mark.parametrize("kind", ["gzip", "xz", "zstd"])
def test_each_cut_is_a_note(tmp_path: Path, kind: str) -> None:
    whole = compressed(archive(tmp_path / "a", modules()), kind)
    for number in range(0, len(whole), max(1, len(whole) // 20)):
        home = tmp_path / str(number)
        home.mkdir()
        found, notes = extract(home, whole[:number])
        assert notes
        assert found is None or set(found) <= set(KEPT) | {"kernel/fs/ext4.ko"}


def test_lzo_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="compressed by lzo, which cannot be read"):
        extract(tmp_path, b"\x89LZO\0\r\n\x1a\n")


def test_an_initrd_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="none cannot be read: No such file"):
        initrd_modules.extract([tmp_path / "none"], None, tmp_path, lambda *_: None, [])
    with pytest.raises(BadInputError, match="cannot be read: Is a directory"):
        initrd_modules.extract([tmp_path], None, tmp_path, lambda *_: None, [])
