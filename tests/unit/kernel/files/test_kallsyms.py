# SPDX-License-Identifier: GPL-2.0-or-later
"""The symbol table of a flat image, by the name that the start of its code has."""

from __future__ import annotations

from pathlib import Path

import pytest

from virtio_trace.errors import BadInputError
from virtio_trace.kernel.files import kallsyms

FLAT = Path(__file__).parents[3] / "fuzz/corpus/kallsyms/flat"
"""Real tokens and names of an arm64 kernel; see the corpus's README.md."""


def renamed(data: bytes, last: bytes) -> bytes:
    """DATA with its first symbol, _text, named _stXt: X is the token LAST. As many tokens."""
    tokens = kallsyms.read(data, "flat")._tokens
    return data.replace(b"\6T_text", b"\6T_st" + bytes((tokens.index(last),)) + b"t", 1)


def test_the_code_may_start_with_start() -> None:
    """As on riscv (arch/riscv/kernel/vmlinux.lds.S)."""
    data = FLAT.read_bytes()
    before, after = kallsyms.read(data, "flat"), kallsyms.read(renamed(data, b"ar"), "flat")
    assert (before.symbols[0][2], after.symbols[0][2]) == ("_text", "_start")
    assert after.symbols[1:] == before.symbols[1:]


def test_another_name_there_is_no_symbol_table() -> None:
    with pytest.raises(BadInputError, match="has no symbol table"):
        kallsyms.read(renamed(FLAT.read_bytes(), b"or"), "flat")
