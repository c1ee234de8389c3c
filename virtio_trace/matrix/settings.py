# SPDX-License-Identifier: GPL-2.0-or-later
"""What a plan may say of a boot, and of what is expected of it: as data, and how it is merged."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CONFORMS = "CONFORMS"
VERDICTS = (CONFORMS, "DEVIATES", "INCOMPLETE")


@dataclass(frozen=True, slots=True)
class Expectation:
    """What a case must turn out as.

    ``verdicts``: those of check that are right. ``errors``: the subjects that must have an error of
    check, and no others; None: not compared. ``board``: a board file that check is given; its text,
    so that another machine has it. ``strict``: a warning deviates, too.
    """

    verdicts: tuple[str, ...] = (CONFORMS,)
    errors: tuple[str, ...] | None = None
    board: str | None = None
    strict: bool = False


@dataclass(frozen=True, slots=True)
class Source:
    """Where a kernel comes from, as ``boot`` takes it. Paths are absolute."""

    debian: str | None = None
    vmlinuz: Path | None = None
    modules: Path | None = None
    initrd: Path | None = None
    image: Path | None = None
    backing: tuple[Path, ...] = ()

    @property
    def files(self) -> tuple[Path, ...]:
        """The files that it is made of. A folder of modules counts by itself."""
        named = (self.vmlinuz, self.modules, self.initrd, self.image)
        return tuple(path for path in named if path is not None)

    @property
    def is_third_party(self) -> bool:
        """Whether it runs programs of its own, and takes no ``run``."""
        return self.initrd is not None or self.image is not None


@dataclass(frozen=True, slots=True)
class Settings:
    """How a case is booted. ``timeout`` is in seconds. ``devices`` are QEMU's -device values; None:
    boot's default devices. ``qemu``: further options of QEMU, as they are."""

    devices: tuple[str, ...] | None = None
    append: str = ""
    timeout: float = 300.0
    accel: str = "auto"
    collector: str = "auto"
    boot_events: bool = True
    run: str | None = None
    until: str | None = None
    boots: int = 1
    qemu: tuple[str, ...] = ()
    expect: Expectation = Expectation()


def merged(tables: list[Mapping[str, Any]]) -> dict[str, Any]:
    """TABLES of settings, from the most general one on. A later one wins; ``append`` and ``qemu``
    are added to, and ``expect`` is merged key by key."""
    found: dict[str, Any] = {}
    for table in tables:
        for key, value in table.items():
            if key == "append":
                found[key] = f"{found.get(key, '')} {value}".strip()
            elif key == "qemu":
                found[key] = [*found.get(key, ()), *value]
            elif key == "expect":
                found[key] = {**found.get(key, {}), **value}
            else:
                found[key] = value
    return found
