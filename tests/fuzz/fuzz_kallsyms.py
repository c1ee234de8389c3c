# SPDX-License-Identifier: GPL-2.0-or-later
"""The symbol table inside an arm64 Image."""

from __future__ import annotations

from virtio_trace.kernel.files import kallsyms

LONGEST = 1 << 16
WORDS = (b"".join(b"%d\0" % digit for digit in range(10)), b"\0\0\0\0", b"T_text", b"\x80\x01")


def one(data: bytes) -> None:
    found = kallsyms.read(data, "fuzzed")
    assert len(found.symbols) == len(found)
    _ = found.by_name
    for address in (0, found.addresses[-1], 1 << 63):
        found.function_around(address)
        found.object_at(address)
