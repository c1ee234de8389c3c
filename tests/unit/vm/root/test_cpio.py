# SPDX-License-Identifier: GPL-2.0-or-later
"""The guest's archives, read back by GNU cpio, which shares no code with us."""

from __future__ import annotations

import io
import subprocess
from pathlib import Path

import pytest

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
