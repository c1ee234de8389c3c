# SPDX-License-Identifier: GPL-2.0-or-later
"""Mutants without one probe point: neither its events nor its entries in the lists of probes, as if
the recorder had never known it."""

from __future__ import annotations

from collections.abc import Iterator

from tests.mutate.base import Base, Line, Mutant


def mutants(base: Base) -> Iterator[Mutant]:
    """One for each probe point that the recording lists or has events of."""
    listed = {state["probe"] for state in base.trailer["probes"]}
    for point in sorted(listed | {event.probe for event in base.events if event.probe}):
        places = {n for n, event in enumerate(base.events) if event.probe == point}
        header, trailer = _without(base.header, point), _without(base.trailer, point)
        if header.get("boot"):
            header["boot"] = _without(header["boot"], point)
        name = f"unlisted:{point} {'used' if places else 'unused'}"
        yield Mutant(name, "", base.without(places), header, trailer, hides=True)


def _without(line: Line, point: str) -> Line:
    return line | {"probes": [state for state in line["probes"] if state["probe"] != point]}
