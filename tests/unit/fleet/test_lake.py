# SPDX-License-Identifier: GPL-2.0-or-later
"""A lake that is damaged, of another version, or none."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.unit.fleet.lakes import GOLDENS, fleet
from virtio_trace.fleet.schema import SCHEMA


def _a_file(lake: Path, table: str = "steps") -> Path:
    return min((lake / table).rglob("*.parquet"))


def _cut(lake: Path) -> Path:
    path = _a_file(lake)
    path.write_bytes(path.read_bytes()[:-100])
    return path


def _remove(lake: Path) -> Path:
    path = _a_file(lake)
    path.unlink()
    return path


def _zero_the_end(lake: Path) -> Path:
    path = _a_file(lake)
    size = path.stat().st_size
    path.write_bytes(path.read_bytes()[:-100] + bytes(100))
    assert path.stat().st_size == size
    return path


def _put_another_file_there(lake: Path) -> Path:
    path = _a_file(lake)
    path.write_bytes(_a_file(lake, "boots").read_bytes())
    return path


def _damage_the_footer(lake: Path) -> Path:
    path = _a_file(lake)
    text = path.read_bytes()
    path.write_bytes(text[:-60] + b"\xff" * 52 + text[-8:])
    return lake


def _cut_a_commit(lake: Path) -> Path:
    path = min((lake / "commits").iterdir())
    path.write_bytes(path.read_bytes()[:-5])
    return path


def _list_for_files(lake: Path) -> Path:
    path = min((lake / "commits").iterdir())
    path.write_text(json.dumps({"schema": SCHEMA, "files": []}), "utf-8")
    return path


def _other_version(lake: Path) -> Path:
    (lake / "lake.json").write_text('{"schema": "virtio-trace/lake/2"}', "utf-8")
    return lake


def _other_version_of_a_commit(lake: Path) -> Path:
    path = min((lake / "commits").iterdir())
    path.write_text(path.read_text("utf-8").replace("lake/1", "lake/2"), "utf-8")
    return path


def _no_mark(lake: Path) -> Path:
    (lake / "lake.json").unlink()
    return lake


def _bad_mark(lake: Path) -> Path:
    (lake / "lake.json").write_text("[]", "utf-8")
    return lake / "lake.json"


_DAMAGE = (
    _cut, _remove, _zero_the_end, _put_another_file_there, _damage_the_footer, _cut_a_commit,
    _list_for_files, _other_version, _other_version_of_a_commit, _no_mark, _bad_mark,
)  # fmt: skip


@pytest.mark.parametrize("damage", _DAMAGE)
def test_damage_is_named_by_both_readers(
    damage: Callable[[Path], Path], lake: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mine = shutil.copytree(lake, tmp_path / "lake")
    where = damage(mine)
    for words in (("summary", mine), ("sql", mine, "SELECT count(*) FROM steps WHERE ok")):
        assert fleet(*words) == 5
        told = capsys.readouterr()
        assert told.err.startswith(f"virtio-trace: {where}: ")
        assert told.out == ""


@pytest.mark.parametrize("damage", [_other_version, _cut_a_commit, _bad_mark])
def test_nothing_is_added_to_a_damaged_lake(
    damage: Callable[[Path], Path], lake: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mine = shutil.copytree(lake, tmp_path / "lake")
    where = damage(mine)
    before = sorted(mine.rglob("*"))
    assert fleet("import", GOLDENS[0], "-o", mine) == 5
    assert f"virtio-trace: {where}: " in capsys.readouterr().err
    assert sorted(mine.rglob("*")) == before


def test_the_version_that_is_read_is_named(
    lake: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mine = _other_version(shutil.copytree(lake, tmp_path / "lake"))
    assert fleet("summary", mine) == 5
    told = capsys.readouterr().err
    assert "a lake of schema virtio-trace/lake/2" in told
    assert f"this virtio-trace reads {SCHEMA}" in told


def test_a_lake_without_recordings(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty").mkdir()
    assert fleet("import", tmp_path / "empty", "-o", tmp_path / "lake") == 0
    assert fleet("summary", tmp_path / "lake") == 5
    assert fleet("sql", tmp_path / "lake", "SELECT 1") == 5
    assert capsys.readouterr().err.count(f"{tmp_path / 'lake'}: no recordings") == 2


def test_a_name_with_characters_of_a_pattern(tmp_path: Path) -> None:
    lake = tmp_path / "it's [a] lake?*"
    assert fleet("import", GOLDENS[0], "-o", lake) == 0
    assert fleet("sql", lake, "SELECT count(*) FROM boots") == 0
    assert fleet("summary", lake) == 0
