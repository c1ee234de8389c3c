# SPDX-License-Identifier: GPL-2.0-or-later
"""The cache: its locks, its temporary folders, and a cache that cannot be used."""

from __future__ import annotations

import fcntl
from pathlib import Path

import pytest

from virtio_trace.errors import CannotTraceError
from virtio_trace.vm.host import cache


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def test_temporary_folders_of_the_dead_are_swept() -> None:
    dead = cache.root() / "tmp-dead"
    (dead / "sub").mkdir(parents=True)
    with cache.scratch("live") as live:
        cache.sweep()
        assert live.is_dir()
        assert not dead.exists()
    assert not live.exists()


def test_a_lock_is_held_by_one() -> None:
    path = cache.root() / "x.lock"
    with cache.lock("x"), path.open() as other, pytest.raises(BlockingIOError):
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
    with path.open() as other:
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_whoever_waits_for_a_lock_says_so() -> None:
    told: list[tuple[str, float | None]] = []
    with cache.lock("x", lambda what, done: told.append((what, done))):
        pass
    assert told == []
    held = (cache.root() / "x.lock").open()
    fcntl.flock(held, fcntl.LOCK_EX)

    def release(what: str, done: float | None) -> None:
        told.append((what, done))
        held.close()

    with cache.lock("x", release):
        assert [done for _, done in told] == [None, 1.0]
        assert told[0][0].startswith("waiting for another virtio-trace")


def test_a_cache_that_cannot_be_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(CannotTraceError, match="Not a directory"):
        cache.root()
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.delenv("HOME")
    monkeypatch.setattr("pwd.getpwuid", {}.__getitem__)
    with pytest.raises(CannotTraceError, match="no home"):
        cache.root()
