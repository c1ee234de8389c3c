# SPDX-License-Identifier: GPL-2.0-or-later
"""The guest's archives, read back by GNU cpio, which shares no code with us."""

from __future__ import annotations

import io
import subprocess
import tarfile
from pathlib import Path

import pytest

from virtio_trace.vm.root import appliance
from virtio_trace.vm.root.cpio import Writer


def listing(archive: Path) -> dict[str, str]:
    """Name to the rest of its line in cpio's listing (mode, links, owner, size)."""
    done = subprocess.run(
        ["cpio", "-itvn", "--quiet"], stdin=archive.open("rb"), check=True, capture_output=True
    )
    found = {}
    for line in done.stdout.decode().splitlines():
        head, _, name = line.partition(" 1970 ")
        found[name] = head
    return found


def test_what_is_written_is_what_cpio_reads(tmp_path: Path) -> None:
    archive = tmp_path / "a.cpio"
    data = bytes(range(256)) * 5 + b"x"
    with archive.open("wb") as out, Writer(out) as root:
        root.device("dev/console", 5, 1)
        root.file("a/b/file", data, 0o755)
        root.stream("a/b/stream", io.BytesIO(data), len(data))
        root.link("a/link", "b/file")
        root.folder("tmp", 0o1777)
    into = tmp_path / "into"
    into.mkdir()
    names = listing(archive)
    assert names["dev/console"].startswith("crw-------")
    assert "5,   1" in names["dev/console"]
    assert names["tmp"].startswith("drwxrwxrwt")
    assert names["a/b/file"].startswith("-rwxr-xr-x   1 0        0")
    assert names["a/link -> b/file"].startswith("lrwxrwxrwx")
    subprocess.run(["cpio", "-i", "--quiet", "a*"], stdin=archive.open("rb"), check=True, cwd=into)
    assert (into / "a/b/file").read_bytes() == data
    assert (into / "a/b/stream").read_bytes() == data
    assert (into / "a/link").read_bytes() == data


def test_a_stream_that_is_short_is_an_error() -> None:
    with pytest.raises(EOFError), Writer(io.BytesIO()) as root:
        root.stream("a", io.BytesIO(b"12"), 3)


def test_only_what_the_guest_needs_is_taken_from_the_packages(tmp_path: Path) -> None:
    tar = tmp_path / "root.tar"
    files = {
        "./usr/bin/python3.11": 0o755,
        "./usr/bin/dpkg": 0o755,
        "./usr/share/doc/x/copyright": 0o644,
        "./usr/lib/x86_64-linux-gnu/libLLVM-14.so.1": 0o644,
        "./usr/lib/x86_64-linux-gnu/gconv/EBCDIC.so": 0o644,
        "./usr/lib/python3.11/json/__init__.py": 0o644,
        "./usr/lib/python3.11/test/test_json.py": 0o644,
        "./usr/sbin/modprobe": 0o755,
        "./etc/passwd": 0o644,
    }
    with tarfile.open(tar, "w") as archive:
        link = tarfile.TarInfo("./lib")
        link.type, link.linkname = tarfile.SYMTYPE, "usr/lib"
        archive.addfile(link)
        for name, mode in files.items():
            member = tarfile.TarInfo(name)
            member.mode, member.size, member.uid = mode, 4, 1000
            archive.addfile(member, io.BytesIO(b"data"))
    out = tmp_path / "out.cpio"
    appliance.convert(tar, out)
    names = listing(out)
    kept = {name for name, head in names.items() if head.startswith("-")}
    assert kept == {
        "usr/bin/python3.11",
        "usr/lib/x86_64-linux-gnu/libLLVM-14.so.1",
        "usr/lib/python3.11/json/__init__.py",
        "usr/sbin/modprobe",
    }
    assert names["usr/bin/python3.11"].startswith("-rwxr-xr-x   1 0        0")
    assert "lib -> usr/lib" in names
    assert "dev/console" in names


def test_another_recipe_is_another_appliance(monkeypatch: pytest.MonkeyPatch) -> None:
    before = appliance.key()
    assert appliance.key() == before
    monkeypatch.setattr(appliance, "PACKAGES", (*appliance.PACKAGES, "strace"))
    assert appliance.key() != before
