# SPDX-License-Identifier: GPL-2.0-or-later
"""A physical volume of LVM with one linear logical volume. LVM's own programs need a block device.

Layout: lib/format_text/layout.h and lib/label/label.h of LVM2, lvm_text(5).
"""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

_EXTENT = 4 << 20
_DATA = 1 << 20
_METADATA = 4096
_PV = "abcdef-abcd-abcd-abcd-abcd-abcd-abcdef"

_TEXT = """vg {{
id = "vvvvvv-abcd-abcd-abcd-abcd-abcd-abcdef"
seqno = 1
format = "lvm2"
status = ["RESIZEABLE", "READ", "WRITE"]
flags = []
extent_size = {extent}
max_lv = 0
max_pv = 0
metadata_copies = 0

physical_volumes {{

pv0 {{
id = "{pv}"
device = "/dev/vda2"

status = ["ALLOCATABLE"]
flags = []
dev_size = {sectors}
pe_start = {start}
pe_count = {count}
}}
}}

logical_volumes {{

{name} {{
id = "llllll-abcd-abcd-abcd-abcd-abcd-abcdef"
status = ["READ", "WRITE", "VISIBLE"]
flags = []
segment_count = 1

segment1 {{
start_extent = 0
extent_count = {count}

type = "striped"
stripe_count = 1

stripes = [
"pv0", 0
]
}}
}}
}}
}}
contents = "Text Format Volume Group"
version = 1
description = ""
creation_host = "x"
creation_time = 1700000000
"""


def physical(content: Path, target: Path, name: str = "root") -> Path:
    """A physical volume of the group vg, whose logical volume NAME has CONTENT."""
    data = content.read_bytes()
    count = -(-len(data) // _EXTENT)
    size = _DATA + count * _EXTENT
    numbers = {"extent": _EXTENT // 512, "sectors": size // 512, "start": _DATA // 512}
    text = _TEXT.format(pv=_PV, count=count, name=name, **numbers).encode() + b"\0"
    uuid = _PV.replace("-", "").encode()
    header = uuid + struct.pack("<QQQQQ", size, _DATA, 0, 0, 0)
    header += struct.pack("<QQQQ", _METADATA, _DATA - _METADATA, 0, 0)
    label = (struct.pack("<I8s", 32, b"LVM2 001") + header).ljust(512 - 20, b"\0")
    label = struct.pack("<8sQI", b"LABELONE", 1, _crc(label)) + label
    area = struct.pack("<16sIQQ", b" LVM2 x[5A%r0N*>", 1, _METADATA, _DATA - _METADATA)
    area += struct.pack("<QQII", 512, len(text), _crc(text), 0)
    area = area.ljust(512 - 4, b"\0")
    area = struct.pack("<I", _crc(area)) + area
    with target.open("wb") as file:
        for place, part in (
            (512, label),
            (_METADATA, area),
            (_METADATA + 512, text),
            (_DATA, data),
        ):
            file.seek(place)
            file.write(part)
        file.truncate(size)
    return target


def _crc(data: bytes) -> int:
    """CRC-32 from LVM's start value, not inverted at the end (lib/misc/crc.c)."""
    return ~zlib.crc32(data, ~0xF597A6CF & 0xFFFFFFFF) & 0xFFFFFFFF
