# SPDX-License-Identifier: GPL-2.0-or-later
"""Applies every single change to every golden recording, and prints those that the check misses.

Run by `make mutate`. allowed.toml lists the classes of mutants that may survive, each with its
reason. A survivor of any other class fails the run, and so does a pattern that no survivor needs.
"""

from __future__ import annotations

import sys
import time
import tomllib
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from tests.mutate import of_events, of_frame, of_points
from tests.mutate.base import Base, Mutant
from tests.mutate.judge import BLAMED, PASSED, Judge, Survivor

GOLDEN = Path(__file__).resolve().parent.parent / "golden"
ALLOWED = Path(__file__).with_name("allowed.toml")

Class = tuple[str, str, str]
"""How it survived, the profile, and the class of mutants."""


@dataclass(frozen=True, slots=True)
class Allowed:
    """Classes that may survive, as shell patterns, and the reason."""

    how: str
    profiles: tuple[str, ...]
    patterns: tuple[str, ...]
    reason: str

    def covers(self, how: str, profile: str, name: str) -> bool:
        """Whether a survivor of that class is allowed by this entry."""
        if how != self.how or profile not in self.profiles:
            return False
        return any(fnmatchcase(name, pattern) for pattern in self.patterns)


def mutants(base: Base) -> Iterator[Mutant]:
    """Every mutant of BASE."""
    yield from of_frame.mutants(base)
    yield from of_points.mutants(base)
    yield from of_events.mutants(base)


def allowed(path: Path = ALLOWED) -> list[Allowed]:
    """The entries of allowed.toml."""
    raw = tomllib.loads(path.read_text(encoding="utf-8"))
    return [
        Allowed(how, tuple(item["profiles"]), tuple(item["classes"]), item["reason"])
        for how in (PASSED, BLAMED)
        for item in raw.get(how, ())
    ]


def unexpected(survivors: list[Survivor], entries: list[Allowed]) -> list[Survivor]:
    """The survivors that no entry covers."""
    known: dict[Class, bool] = {}
    for one in survivors:
        key = one.how, one.profile, one.name
        if key not in known:
            known[key] = any(entry.covers(*key) for entry in entries)
    return [one for one in survivors if not known[one.how, one.profile, one.name]]


def idle(survivors: list[Survivor], entries: list[Allowed]) -> list[tuple[Allowed, str]]:
    """The patterns that no survivor needs, with their entries."""
    keys = {(one.how, one.profile, one.name) for one in survivors}
    return [
        (entry, pattern)
        for entry in entries
        for pattern in entry.patterns
        if not any(
            how == entry.how and profile in entry.profiles and fnmatchcase(name, pattern)
            for how, profile, name in keys
        )
    ]


def _one(path: Path) -> tuple[str, int, list[Survivor]]:
    base = Base(path)
    judge = Judge(base)
    number, found = 0, []
    for mutant in mutants(base):
        number += 1
        found += judge.survivors(mutant)
    return base.name, number, found


def main() -> int:
    """Print the survivors by class. Returns 1 if one is not allowed or a pattern is not needed."""
    begun = time.monotonic()
    total, survivors = 0, []
    with ProcessPoolExecutor(max_workers=2) as pool:
        for name, number, found in pool.map(_one, sorted(GOLDEN.glob("*.vtr"))):
            print(f"{name}: {number} mutants, {len(found)} survived", flush=True)
            total += number
            survivors += found
    entries = allowed()
    classes = Counter((one.how, one.profile, one.name) for one in survivors)
    for entry in entries:
        mine = {key: n for key, n in classes.items() if entry.covers(*key)}
        profiles = ", ".join(entry.profiles)
        print(f"\n{entry.how} ({profiles}): {entry.reason}")
        for (_, profile, name), number in sorted(mine.items()):
            print(f"  {number:6} {profile:5} {name}")
    wrong = unexpected(survivors, entries)
    _print_wrong(wrong)
    for entry, pattern in idle(survivors, entries):
        print(f"\nNOT NEEDED: {pattern!r} ({entry.how}, {', '.join(entry.profiles)})")
    seconds = time.monotonic() - begun
    print(f"\n{total} mutants in both profiles, {len(survivors)} survived, "
          f"{len(wrong)} unexpectedly; {seconds:.0f} s")  # fmt: skip
    return 1 if wrong or idle(survivors, entries) else 0


def _print_wrong(wrong: list[Survivor]) -> None:
    counts = Counter((one.how, one.profile, one.name) for one in wrong)
    example = {(one.how, one.profile, one.name): one.where for one in reversed(wrong)}
    if counts:
        print("\nUNEXPECTED")
    for key, number in sorted(counts.items()):
        how, profile, name = key
        print(f"  {number:6} {how} {profile:5} {name}  ({example[key]})")


if __name__ == "__main__":
    sys.exit(main())
