# SPDX-License-Identifier: GPL-2.0-or-later
"""A sample of `make mutate`: every Nth single change to four recordings, in both profiles."""

from __future__ import annotations

from fnmatch import fnmatchcase
from itertools import islice

import pytest

from tests.mutate.base import Base, Mutant
from tests.mutate.judge import BLAMED, PASSED, Judge, Survivor
from tests.mutate.run import GOLDEN, allowed, idle, mutants, unexpected

SAMPLES = {"debian-6.1": 29, "debian-6.12": 31, "debian-6.1-suspend": 43, "debian-6.12-rebind": 41}
"""N per recording: one of N mutants is judged. Prime, so no kind of change is left out."""


@pytest.mark.parametrize("name", SAMPLES)
def test_no_mutant_survives_that_may_not(name: str) -> None:
    base = Base(GOLDEN / f"{name}.vtr")
    judge = Judge(base)
    sample = list(islice(mutants(base), 0, None, SAMPLES[name]))
    assert len(sample) > 90
    survivors = [found for mutant in sample for found in judge.survivors(mutant)]
    assert unexpected(survivors, allowed()) == []
    assert survivors  # what is not a step of a profile survives in that profile


def test_what_is_a_step_is_noticed_in_both_profiles() -> None:
    """None of these classes has a survivor in a recording that conforms."""
    base = Base(GOLDEN / "debian-6.1.vtr")
    judge = Judge(base)
    for name in (
        "result 0 to -22:virtio_dev_probe.return",
        "no device:virtio_dev_probe.entry",
        "drop:virtio_dev_probe.entry",
        "trailer probes: none",
        "trailer probes: absent",
        "all lists of probes: none",
        "trailer: lost",
        "trailer: none",
    ):
        chosen = [m for m in mutants(base) if fnmatchcase(m.name, name)]
        assert chosen, name
        assert not [found for mutant in chosen for found in judge.survivors(mutant)], name


def test_a_change_that_is_none_is_not_noticed() -> None:
    base = Base(GOLDEN / "debian-6.1.vtr")
    found = Judge(base).survivors(Mutant("nothing", "", events=list(base.events)))
    assert [(one.how, one.profile) for one in found] == [(PASSED, "linux"), (PASSED, "spec")]
    assert unexpected(found, allowed()) == found


def test_what_only_hides_is_blamed_where_it_makes_an_error() -> None:
    """As if the result of a call had been hidden and replaced by another."""
    base = Base(GOLDEN / "debian-6.1.vtr")
    name = "result 0 to -22:virtio_dev_probe.return"
    wrong = next(m for m in mutants(base) if m.name == name)
    hidden = Mutant(wrong.name, wrong.where, events=wrong.events, hides=True)
    assert {one.how for one in Judge(base).survivors(hidden)} == {BLAMED}


def test_an_entry_that_no_survivor_needs_is_found() -> None:
    entries = allowed()
    assert all(entry.reason and entry.patterns and entry.profiles for entry in entries)
    entry = next(entry for entry in entries if "snapshot: *" in entry.patterns)
    one = Survivor(PASSED, "linux", "snapshot: bus", "debian-6.1")
    assert (entry, "snapshot: *") not in idle([one], entries)
    assert (entry, "snapshot: *") in idle([], entries)


_OF_OTHERS = ("final: devices gone", "final: devices more", "final: drivers gone",
              "final: drivers more", "final: pci more", "evidence: unread")  # fmt: skip
"""Changes that concern only others than the disk; see check/scope.py."""


def test_no_change_about_what_was_asked_survives() -> None:
    """Of a recording in which all but the rebind of a disk came before, judged on that disk."""
    base = Base(GOLDEN / "debian-6.1-live.vtr")
    judge = Judge(base, ("vda",))
    survivors = [found for mutant in mutants(base) for found in judge.survivors(mutant)]
    unasked = {one.name for one in unexpected(survivors, allowed())}
    assert unasked == {*_OF_OTHERS}
    changed = {one.where.split()[-1] for one in survivors if one.name == "final: devices gone"
               and one.profile == "linux"}  # fmt: skip
    assert changed == {"0000:00:02.0", "0000:00:04.0", "0000:00:05.0", "0000:00:06.0"}
