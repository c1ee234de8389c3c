# SPDX-License-Identifier: GPL-2.0-or-later
"""The function that a probe point is armed on."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Target:
    """A function to arm: ``module:symbol`` where it is, or will be, a module's.

    One that shares its name with another is reached from a ``base`` symbol that is alone in its
    name, ``offset`` bytes before it.
    """

    symbol: str
    module: str | None
    base: str | None = None
    offset: int = 0

    def __str__(self) -> str:
        place = f"{self.base}+{self.offset:#x}" if self.base else self.symbol
        return f"{self.module}:{place}" if self.module else place
