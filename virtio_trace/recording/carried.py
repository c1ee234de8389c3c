# SPDX-License-Identifier: GPL-2.0-or-later
"""The kernel's messages about what VirtIO devices carry: disks (vdb) and interfaces (ens3).

Such a message does not name the VirtIO device: ``I/O error, dev vdb, sector 0 op 0x0:(READ)``
(block/blk-core.c, blk_print_req_error; net/core/dev.c, netdev_printk).
"""

from __future__ import annotations

import re
from collections.abc import Iterable

WARNING = 4
"""The level of KERN_WARNING. What the kernel logs at this level or a lower one is wrong."""

_DISK = re.compile(r"(?:vd|sd)[a-z]{1,6}")


def pattern(names: Iterable[str]) -> re.Pattern[str] | None:
    """Finds one of NAMES in a message, in its last group; that of a disk also before the number of
    a partition (vdb1). None: there are no names."""
    known = sorted({name for name in names if name})
    disks = [re.escape(name) for name in known if _DISK.fullmatch(name)]
    others = [re.escape(name) for name in known if not _DISK.fullmatch(name)]
    parts = [rf"({'|'.join(disks)})[0-9]*"] * bool(disks) + [f"({'|'.join(others)})"] * bool(others)
    return re.compile(rf"(?<![\w.-])(?:{'|'.join(parts)})(?![\w-])") if parts else None


def named(names: re.Pattern[str] | None, text: str) -> set[str]:
    """The names of a :func:`pattern` that TEXT has."""
    if names is None:
        return set()
    return {str(found[found.lastindex or 0]) for found in names.finditer(text)}
