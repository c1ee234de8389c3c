# SPDX-License-Identifier: GPL-2.0-or-later
"""Kernel images that are cut, or point to where no file is; found by tests/fuzz."""

from __future__ import annotations

import struct

import pytest

from tests.fuzz.harnesses import CORPUS
from virtio_trace.errors import BadInputError
from virtio_trace.kernel.files import vmlinuz
from virtio_trace.kernel.files.vmlinux_memory import Image

WHOLE = (CORPUS / "vmlinux" / "one-driver").read_bytes()


def test_the_image_itself() -> None:
    assert Image(WHOLE, "x").text


@pytest.mark.parametrize("field", [32, 40])  # e_phoff, e_shoff
@pytest.mark.parametrize("place", [1 << 62, 1 << 63, (1 << 64) - 1])
def test_a_table_that_is_nowhere(field: int, place: int) -> None:
    data = bytearray(WHOLE)
    struct.pack_into("<Q", data, field, place)
    with pytest.raises(BadInputError):
        Image(bytes(data), "x")


@pytest.mark.parametrize("name", ["bzimage-gzip", "zboot", "image-gz"])
def test_every_beginning_of_a_packed_image(name: str) -> None:
    data = (CORPUS / "vmlinuz" / name).read_bytes()
    for size in (*range(6, 64), *range(64, len(data), 50)):
        with pytest.raises(BadInputError):
            vmlinuz.payload(data[:size], "x")
