# SPDX-License-Identifier: GPL-2.0-or-later
"""Makes names from a kernel or a file safe for a terminal.

A process chooses its comm freely. Control characters would move the cursor or set colours,
bidirectional marks would reorder the text, and a lone surrogate cannot be encoded.
"""

from __future__ import annotations


def escape(text: object) -> str:
    """TEXT on one line, with unprintable characters as ``\\x1b``, ``\\u202e``, ``\\U000e0001``."""
    plain = str(text)
    # isprintable() is false for bidirectional marks, unassigned and private characters too.
    return plain if plain.isprintable() else "".join(map(_character, plain))


def _character(character: str) -> str:
    if character.isprintable():
        return character
    code = ord(character)
    if code <= 0xFF:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"
