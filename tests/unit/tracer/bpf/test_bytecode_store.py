# SPDX-License-Identifier: GPL-2.0-or-later
"""The cache of bytecode: who may have written what is loaded into the kernel."""

from __future__ import annotations

import os
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from tests.unit.tracer.bpf.test_bytecode import code
from virtio_trace.tracer import private_cache
from virtio_trace.tracer.bpf import bytecode_store as store
from virtio_trace.tracer.bpf.bytecode import Bytecode

NAME, COMPILER = "x86_64-constant", "BCC 0.26.0"
NOBODY = 65534
ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The cache's folder, with one entry."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    store.keep(NAME, code())
    return tmp_path / "virtio-trace" / "bytecode"


def cached() -> Bytecode | None:
    return store.cached(NAME, code().source, COMPILER)


def test_what_was_kept_is_found(folder: Path) -> None:
    found = cached()
    assert found == replace(code(), found="cache")
    assert folder.stat().st_mode & 0o777 == 0o700
    assert [path.stat().st_mode & 0o777 for path in folder.iterdir()] == [0o600]
    assert store.cached(NAME, "0" * 64, COMPILER) is None
    assert store.cached(NAME, code().source, "BCC 0.27.0") is None
    assert store.cached(NAME, code().source, None) == found  # there is no BCC that could do better


def test_a_file_that_says_something_else_than_its_name_is_not_used(folder: Path) -> None:
    (file,) = folder.iterdir()
    store.keep(NAME, replace(code(), source="cd" * 32))
    (other,) = set(folder.iterdir()) - {file}
    other.replace(file)
    assert cached() is None


def test_a_damaged_file_is_not_used_and_is_replaced(folder: Path) -> None:
    (file,) = folder.iterdir()
    file.write_bytes(file.read_bytes()[:-1])
    assert cached() is None
    store.keep(NAME, code())
    assert cached() is not None


@pytest.mark.parametrize("mode", [0o620, 0o602, 0o666])
def test_a_file_that_others_can_write_is_not_used(folder: Path, mode: int) -> None:
    (file,) = folder.iterdir()
    file.chmod(mode)
    assert cached() is None


@pytest.mark.parametrize("mode", [0o770, 0o707])
def test_a_folder_that_others_can_write_is_not_used(folder: Path, mode: int) -> None:
    (file,) = folder.iterdir()
    folder.chmod(mode)
    assert cached() is None
    file.unlink()
    store.keep(NAME, code())
    assert not list(folder.iterdir())


@ROOT
def test_another_users_file_is_not_used(folder: Path) -> None:
    (file,) = folder.iterdir()
    os.chown(file, NOBODY, NOBODY)
    assert cached() is None


@ROOT
def test_another_users_folder_is_not_used(folder: Path) -> None:
    os.chown(folder, NOBODY, NOBODY)
    assert cached() is None


@ROOT
def test_root_creates_no_folder_in_another_users_home(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    os.chown(home, NOBODY, NOBODY)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", str(home))
    store.keep(NAME, code())
    assert not list(home.iterdir())


def test_links_are_not_followed(folder: Path, tmp_path: Path) -> None:
    (file,) = folder.iterdir()
    moved = tmp_path / "moved"
    file.rename(moved)
    file.symlink_to(moved)
    assert cached() is None
    file.unlink()
    moved.rename(file)
    assert cached() is not None
    real = folder.rename(tmp_path / "real")
    folder.symlink_to(real)
    assert cached() is None


def test_a_fifo_in_the_cache_does_not_block(folder: Path) -> None:
    (file,) = folder.iterdir()
    file.unlink()
    os.mkfifo(file, 0o600)
    assert cached() is None


def test_a_relative_cache_home_is_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    monkeypatch.setenv("HOME", "/home/of/nobody")
    assert private_cache.path_of(store.FOLDER) == Path(
        "/home/of/nobody/.cache/virtio-trace/bytecode"
    )


def test_a_cache_that_cannot_be_written_is_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    (tmp_path / "virtio-trace").write_text("a file")
    store.keep(NAME, code())
    assert cached() is None


def test_writers_at_the_same_time_leave_one_whole_file(folder: Path) -> None:
    seen: list[bool] = []

    def write() -> None:
        for _ in range(50):
            store.keep(NAME, code())
            seen.append(cached() is not None)

    threads = [threading.Thread(target=write) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(seen) == 200
    assert all(seen)
    assert len(list(folder.iterdir())) == 1
