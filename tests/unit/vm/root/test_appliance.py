# SPDX-License-Identifier: GPL-2.0-or-later
"""The Debian that tests boot in place of our own root (tests/vm/appliance.py)."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest

from tests.unit.vm.root.test_cpio import listing
from tests.vm import appliance


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


def test_the_guest_can_read_compressed_modules() -> None:
    """Its Python can read xz and gzip; .ko.zst needs the program zstd."""
    assert "zstd" in appliance.PACKAGES
    assert appliance.wanted("usr/bin/zstd")
