# SPDX-License-Identifier: GPL-2.0-or-later
"""The function that a probe point is armed on."""

from __future__ import annotations

from dataclasses import dataclass

ListKey = tuple[str, str, str | None]
"""What identifies a line of debugfs kprobes/list: "k" (entry) or "r" (return), symbol, module."""


@dataclass(frozen=True, slots=True)
class Target:
    """A function to arm: ``module:symbol`` if it is, or will be, a module's.

    If it shares its name with another function, it is ``offset`` bytes after ``base``, a uniquely
    named symbol.
    """

    symbol: str
    module: str | None
    base: str | None = None
    offset: int = 0

    def __str__(self) -> str:
        place = f"{self.base}+{self.offset:#x}" if self.base else self.symbol
        return f"{self.module}:{place}" if self.module else place

    def list_key(self, kind: str) -> ListKey:
        """Its line in the list of kprobes; KIND is "k" or "r"."""
        return (kind, self.symbol, self.module)
