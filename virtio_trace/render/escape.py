# SPDX-License-Identifier: GPL-2.0-or-later
"""Names from a kernel or a file, made safe for a terminal: the one place for it.

A comm is whatever a process calls itself. Control characters would move the cursor or set colours,
bidirectional marks would reorder what is read, a lone surrogate cannot be encoded at all.
"""

from __future__ import annotations


def escape(text: object) -> str:
    """TEXT on one line; what does not print is written ``\\x1b``, ``\\u202e``, ``\\U000e0001``."""
    plain = str(text)
    # All of them, bidirectional marks, unassigned and private characters too, do not "print".
    return plain if plain.isprintable() else "".join(map(_character, plain))


def _character(character: str) -> str:
    if character.isprintable():
        return character
    code = ord(character)
    if code <= 0xFF:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"
