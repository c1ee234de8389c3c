# SPDX-License-Identifier: GPL-2.0-or-later
"""An appliance's archive in the cache, which may be damaged."""

from __future__ import annotations

import io

from virtio_trace.vm.root import cpio

WORDS = (b"070701", b"00000000", b"ffffffff", b"TRAILER!!!\0", b"usr/bin/busybox\0")


def one(data: bytes) -> None:
    found = cpio.find(io.BytesIO(data), "usr/bin/busybox")
    assert found is None or len(found) <= len(data)
