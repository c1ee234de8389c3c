# SPDX-License-Identifier: GPL-2.0-or-later
"""The output of sfdisk --json for a partition table."""

from __future__ import annotations

from tests.fuzz import mutations
from virtio_trace.vm.disk import partitions

MUTATE = mutations.json_lines
WORDS = (b'{"partitiontable":', b'"node":"/dev/vda1"', b'"start":', b'"size":', b'"sectorsize":')


def one(data: bytes) -> None:
    for found in partitions.partitions(data.decode("utf-8", "replace")):
        numbers = (found.number, found.offset, found.size)
        assert min(numbers) >= 0
        assert max(numbers) < 1 << 63
