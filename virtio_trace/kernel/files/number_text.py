# SPDX-License-Identifier: GPL-2.0-or-later
"""Numbers in text that a guest, a file or a version string controls.

``int()`` accepts signs, underscores and the digits of every script, and raises ValueError for more
than 4,300 digits; ``str.isdigit()`` accepts ``²``, which ``int()`` refuses. These two accept ASCII
digits only, and few enough for the number to fit where it goes: 63 bits, as in a recording.
"""

from __future__ import annotations

import re

_DECIMAL = re.compile(r"[0-9]{1,18}")
_HEXADECIMAL = re.compile(r"(?:0[xX])?([0-9a-fA-F]{1,15})")


def decimal(text: str) -> int | None:
    """The number in TEXT: 1 to 18 decimal digits and nothing else; None: not a number."""
    return int(text) if _DECIMAL.fullmatch(text) else None


def hexadecimal(text: str) -> int | None:
    """The number in TEXT: 1 to 15 hexadecimal digits, with or without 0x; None: not a number."""
    found = _HEXADECIMAL.fullmatch(text)
    return int(found[1], 16) if found else None
