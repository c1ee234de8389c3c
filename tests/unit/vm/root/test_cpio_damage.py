# SPDX-License-Identifier: GPL-2.0-or-later
"""An archive of the cache that something damaged; found by tests/fuzz."""

from __future__ import annotations

import io

import pytest

from virtio_trace.errors import BadInputError
from virtio_trace.vm.root.cpio import Writer, find


def archive() -> bytes:
    out = io.BytesIO()
    with Writer(out) as root:
        root.file("before", b"x" * 10)
        root.file("wanted", b"content")
    return out.getvalue()


def test_a_file_in_it() -> None:
    assert find(io.BytesIO(archive()), "wanted") == b"content"
    assert find(io.BytesIO(archive()), "another") is None


@pytest.mark.parametrize(
    ("was", "now"),
    [
        (b"0000000a", b"0000\xff\xff0a"),
        (b"0000000a", b"-00000a0"),  # back to what was read already: for ever
        (b"0000000a", b"0x00000a"),
        (b"070701", b"070702"),
        (b"content", b""),
        (b"wanted", b"\xff\xfe"),
    ],
)
def test_a_damaged_one(was: bytes, now: bytes) -> None:
    assert was in archive()
    with pytest.raises(BadInputError):
        find(io.BytesIO(archive().replace(was, now)[:250]), "wanted")
