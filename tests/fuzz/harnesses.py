# SPDX-License-Identifier: GPL-2.0-or-later
"""Finds the harnesses: the files fuzz_NAME.py in this folder.

Each has ``one(data)``, which passes DATA to a reader. The reader may raise VirtioTraceError; any
other exception is a fault. A harness may also have ``WORDS``, the words of its format; ``MUTATE``,
a mutation that keeps the structure; ``LONGEST``, the largest input in bytes; ``MEGABYTES``, the
most memory that it may take.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random
from types import ModuleType

from tests.fuzz import mutations
from virtio_trace.errors import VirtioTraceError

FOLDER = Path(__file__).resolve().parent
CORPUS = FOLDER / "corpus"
_PREFIX = "fuzz_"
_LONGEST = 1 << 14
_MEGABYTES = 1024


@dataclass(frozen=True, slots=True)
class Harness:
    """One of the files. ``megabytes`` bounds the growth of its address space."""

    name: str
    one: Callable[[bytes], None]
    words: tuple[bytes, ...] = ()
    mutate: mutations.Mutate | None = None
    longest: int = _LONGEST
    megabytes: int = _MEGABYTES

    @property
    def seeds(self) -> list[Path]:
        """Its seeds in git."""
        return sorted(path for path in (CORPUS / self.name).iterdir() if path.is_file())

    def answers(self, data: bytes) -> bool:
        """Whether the reader takes DATA. False: it raised VirtioTraceError. Raises all else."""
        try:
            self.one(data)
        except VirtioTraceError:
            return False
        return True

    def mutated(self, data: bytes, random: Random) -> bytes:
        """DATA with one to five mutations."""
        for _ in range(random.choice((1, 1, 1, 2, 5))):
            if self.mutate is not None and random.random() < 0.7:
                data = self.mutate(data, random)
            else:
                data = mutations.binary(data, random, self.words)
        return data[: self.longest]


def names() -> list[str]:
    """The names of all harnesses, sorted."""
    return sorted(path.stem.removeprefix(_PREFIX) for path in FOLDER.glob(f"{_PREFIX}*.py"))


def load(name: str) -> Harness:
    """Import the harness NAME, and so its readers."""
    module: ModuleType = importlib.import_module(f"tests.fuzz.{_PREFIX}{name}")
    return Harness(
        name=name,
        one=module.one,
        words=getattr(module, "WORDS", ()),
        mutate=getattr(module, "MUTATE", None),
        longest=getattr(module, "LONGEST", _LONGEST),
        megabytes=getattr(module, "MEGABYTES", _MEGABYTES),
    )
