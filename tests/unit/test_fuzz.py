# SPDX-License-Identifier: GPL-2.0-or-later
"""Runs every harness of tests/fuzz on its seeds and on mutations of them, without atheris."""

from __future__ import annotations

from random import Random

import pytest

from tests.fuzz import harnesses

_MUTATIONS = 300
_SLOW = {
    "disk": 12,
    "ext_image": 6,
    "fat_image": 6,
    "uki": 100,
    "frames": 100,
    "recording": 150,
    "vmlinuz": 100,
}
"""Fewer mutations for readers that start other programs or are slow."""


@pytest.mark.parametrize("name", harnesses.names())
def test_the_seeds_are_accepted(name: str) -> None:
    harness = harnesses.load(name)
    assert harness.seeds
    refused = [seed.name for seed in harness.seeds if not harness.answers(seed.read_bytes())]
    assert not refused, "a refused seed exercises nothing"


@pytest.mark.parametrize("name", harnesses.names())
def test_mutated_seeds_are_accepted_or_refused(name: str) -> None:
    harness = harnesses.load(name)
    for number in range(_SLOW.get(name, _MUTATIONS)):
        random = Random(f"{name} {number}")
        seed = random.choice(harness.seeds)
        harness.answers(harness.mutated(seed.read_bytes(), random))


def test_the_corpora_are_small() -> None:
    sizes = {path: path.stat().st_size for path in harnesses.CORPUS.rglob("*") if path.is_file()}
    assert sum(sizes.values()) < 300_000
    assert max(sizes.values()) < 30_000
