# SPDX-License-Identifier: GPL-2.0-or-later
"""fleet import: what is imported, what is skipped, what is damaged."""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import pytest
from pytest import MonkeyPatch

from tests.unit.fleet.lakes import GOLDENS, ask, copy, count, fleet
from virtio_trace.fleet import importer, parquet, worker
from virtio_trace.fleet.lake import create
from virtio_trace.fleet.schema import TABLES
from virtio_trace.fleet.sources import Found
from virtio_trace.fleet.worker import ID_LENGTH, KnownIds

GOLDEN = GOLDENS[0]


def start(*words: object) -> subprocess.Popen[str]:
    argv = [sys.executable, "-m", "virtio_trace", "fleet", "import", *map(str, words)]
    return subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_an_import_is_idempotent(
    lake: Path, recordings: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mine = shutil.copytree(lake, tmp_path / "lake")
    before = sorted(mine.rglob("*.*"))
    moved = tmp_path / "another name"
    shutil.copy(recordings[0], moved)
    assert fleet("import", recordings[0].parents[1], moved, "-o", mine) == 0
    told = f"{mine}: 0 imported, {len(recordings) + 1} already in it, 0 damaged\n"
    assert capsys.readouterr().out == told
    assert sorted(mine.rglob("*.*")) == before


def test_the_same_recording_twice_in_one_import_is_one_boot(tmp_path: Path) -> None:
    for number in range(45):  # in several chunks
        shutil.copy(GOLDEN, tmp_path / f"{number}.vtr")
    assert fleet("import", tmp_path, "-o", tmp_path / "lake") == 0
    assert count(tmp_path / "lake") == 1
    assert count(tmp_path / "lake", "devices") == 3


def test_damaged_recordings_are_named_and_the_rest_is_imported(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, text = tmp_path / "recordings", GOLDEN.read_bytes()
    copy(GOLDEN, folder / "good.vtr", 1)
    bad = {
        "empty.vtr": b"",
        "header.vtr": text[:100],
        "middle.vtr": text.replace(b'"kind"', b'"kin', 1),
        "other.vtr": b"\x7fELF\n" * 100,
    }
    for name, content in bad.items():
        (folder / name).write_bytes(content)
    (folder / "gone.vtr").symlink_to(tmp_path / "nowhere")
    (folder / "cut.vtr").write_bytes(text[: len(text) // 2])  # readable up to its last whole line
    assert fleet("import", folder, "-o", tmp_path / "lake") == 5
    told = capsys.readouterr()
    assert told.out == f"{tmp_path / 'lake'}: 2 imported, 0 already in it, 5 damaged\n"
    for name in (*bad, "gone.vtr"):
        assert f"virtio-trace: warning: {folder / name}: " in told.err
    assert told.err.splitlines()[-2] == "virtio-trace: 5 of 7 recordings are damaged"
    verdicts = ask(tmp_path / "lake", "SELECT source, verdict FROM boots ORDER BY source")
    assert verdicts == [
        (str(folder / "cut.vtr"), "INCOMPLETE"),
        (str(folder / "good.vtr"), "CONFORMS"),
    ]


def test_two_imports_at_once_lose_and_double_nothing(tmp_path: Path) -> None:
    for number in range(150):
        part = "abc"[number // 50]
        copy(GOLDENS[number % len(GOLDENS)], tmp_path / "all" / part / f"{number}.vtr", number)
    lake, every = tmp_path / "lake", tmp_path / "all"
    both = [
        start(every / first, every / second, "-o", lake, "--jobs", 1)
        for first, second in ("ab", "bc")
    ]
    told = [process.communicate(timeout=120) for process in both]
    assert [process.returncode for process in both] == [0, 0], told
    assert count(lake) == 150
    assert ask(lake, "SELECT count(DISTINCT boot) FROM boots") == [(150,)]
    once = tmp_path / "once"
    assert fleet("import", tmp_path / "all", "-o", once) == 0
    for table in ("devices", "steps", "features"):
        assert count(lake, table) == count(once, table)


def test_what_a_killed_import_left_is_removed(lake: Path, tmp_path: Path) -> None:
    mine = shutil.copytree(lake, tmp_path / "lake")
    month = next((mine / "boots").iterdir())
    left = [
        month / "0123456789abcdef.parquet",
        month / ".new-x.parquet",
        mine / "commits/.new-1-x.json",
    ]
    for path in left:
        path.write_bytes(b"PAR1")
    before = count(mine)  # readers ignore them
    extra = copy(GOLDEN, tmp_path / "extra.vtr", 77)
    assert fleet("import", extra, "-o", mine) == 0
    assert not any(path.exists() for path in left)
    assert count(mine) == before + 1


@contextlib.contextmanager
def waiting(folder: Path) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """An import that waits for a file, and the worker that reads it."""
    os.mkfifo(folder / "blocks.vtr")
    process = start(folder / "blocks.vtr", "-o", folder / "lake", "--jobs", 1)
    with (folder / "blocks.vtr").open("wb"):  # opens once a worker has opened it to read
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        pids = [int(pid) for pid in children.read_text("utf-8").split()]
        (worker,) = [
            pid for pid in pids if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()
        ]
        yield process, worker
    process.communicate(timeout=20)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_a_worker_ends_with_the_import(number: signal.Signals, tmp_path: Path) -> None:
    with waiting(tmp_path) as (process, worker):
        process.send_signal(number)
        status = process.wait(timeout=20)
        ends = time.monotonic() + 20
        while _runs(worker):
            assert time.monotonic() < ends, "the worker outlived the import"
            time.sleep(0.05)
    assert status == (-number if number == signal.SIGKILL else 128 + number)
    assert fleet("import", GOLDEN, "-o", tmp_path / "lake") == 0


def test_a_worker_that_is_killed_ends_the_import(tmp_path: Path) -> None:
    with waiting(tmp_path) as (process, worker):
        os.kill(worker, signal.SIGKILL)
        told = process.communicate(timeout=20)
    assert process.returncode == 4
    assert "virtio-trace: a process of the import was killed\n  import again" in told[1]


def test_a_disk_that_is_full(tmp_path: Path) -> None:
    lake = tmp_path / "lake"
    words = ["fleet", "import", str(GOLDEN), "-o", str(lake)]
    argv = [sys.executable, "-m", "virtio_trace", *words]
    limited = subprocess.run(
        ["prlimit", "--fsize=2048", *argv], capture_output=True, text=True, check=False
    )
    assert limited.returncode == 4, limited.stderr
    assert f"virtio-trace: {lake}: cannot write: " in limited.stderr
    assert not list((lake / "commits").iterdir())
    assert fleet("import", GOLDEN, "-o", lake) == 0
    assert count(lake) == 1
    assert not list(lake.rglob(".new-*"))


def test_what_parquet_cannot_store(tmp_path: Path) -> None:
    header, rest = GOLDEN.read_bytes().split(b"\n", 1)
    document = json.loads(header) | {"tool": "half \ud800"}
    path = tmp_path / os.fsdecode(b"not \xff utf-8.vtr")
    path.write_bytes(json.dumps(document).encode() + b"\n" + rest)
    os.utime(path, (2**40, 2**40))  # a year that has five digits: the date is that of today
    assert fleet("import", path, "-o", tmp_path / "lake") == 0
    ((tool, source, year),) = ask(tmp_path / "lake", "SELECT tool, source, year(day) FROM boots")
    assert (tool, str(source).rsplit("/", 1)[1]) == ("half ?", "not ? utf-8.vtr")
    assert isinstance(year, int)
    assert year < 10_000
    too_long = tmp_path / "numbers.parquet"
    nothing = [None] * (len(TABLES["phases"]) - 1)
    rows = [(*nothing, value) for value in (1, 1 << 63, None)]
    parquet.write(too_long, "phases", rows)
    found = duckdb.execute(f"SELECT own_ns FROM '{too_long}'").fetchall()
    assert found == [(1,), (None,), (None,)]


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text("utf-8").rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def test_the_date_of_a_file_is_its_own_or_the_one_given(tmp_path: Path) -> None:
    one = copy(GOLDEN, tmp_path / "one.vtr", 1, "2025-12-31")
    two = copy(GOLDEN, tmp_path / "two.vtr", 2)
    lake = tmp_path / "lake"
    assert fleet("import", one, "-o", lake) == 0
    assert fleet("import", two, "--date", "2026-02-28", "-o", lake) == 0
    days = ask(lake, "SELECT CAST(day AS VARCHAR) FROM boots ORDER BY day")
    assert days == [("2025-12-31",), ("2026-02-28",)]
    months = {path.name for path in (lake / "boots").iterdir()}
    assert months == {"month=2025-12", "month=2026-02"}


@pytest.mark.parametrize("pattern", ["*.vtr", "runs/*.vtr", ""])
def test_recordings_behind_a_url(pattern: str, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        archive.write(GOLDEN, "top.vtr")
        archive.write(GOLDENS[1], "runs/inner.vtr")
        archive.write(__file__, "runs/other.py")
    url = f"zip://{pattern}::file://{tmp_path}/all.zip"
    assert fleet("import", url, "-o", tmp_path / "lake") == 0
    sources = [str(row[0]) for row in ask(tmp_path / "lake", "SELECT source FROM boots")]
    wanted = {"*.vtr": ["top"], "runs/*.vtr": ["inner"], "": ["inner", "top"]}[pattern]
    assert sorted(source.split(".vtr")[0].rsplit("/", 1)[1] for source in sources) == wanted
    assert fleet("import", url, "-o", tmp_path / "lake") == 0
    assert count(tmp_path / "lake") == len(wanted)


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("nothing://x/y.vtr", "Protocol not known: nothing"),
        ("file:///nowhere/x.vtr", "no such file"),
        ("zip://*::file:///nowhere.zip", "no such file"),
    ],
)
def test_a_url_that_cannot_be_read(
    url: str, told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert fleet("import", url, "-o", tmp_path / "lake") == 2
    assert f"virtio-trace: {url}: {told}" in capsys.readouterr().err


def test_arguments_are_checked_before_a_lake_is_made(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert fleet("import", tmp_path / "none.vtr", "-o", tmp_path / "lake") == 2
    assert not (tmp_path / "lake").exists()
    (tmp_path / "file").touch()
    assert fleet("import", GOLDEN, "-o", tmp_path) == 2
    assert fleet("import", GOLDEN, "-o", tmp_path / "file") == 2
    assert fleet("import", GOLDEN, "-o", "s3://bucket/lake") == 2
    told = capsys.readouterr().err
    assert f"{tmp_path}: has files, but is not a lake" in told
    assert f"{tmp_path / 'file'}: is not a folder" in told
    assert "s3://bucket/lake: a lake is a folder of this machine" in told


def test_known_ids_are_found(lake: Path, tmp_path: Path) -> None:
    ids = sorted(str(row[0]) for row in ask(lake, "SELECT boot FROM boots"))
    file = tmp_path / "known"
    file.write_bytes(parquet.sorted_ids((lake / "boots").rglob("*.parquet")))
    assert file.read_text("ascii") == "".join(ids)
    known = KnownIds(file)
    assert all(one in known for one in ids)
    assert not any(one in known for one in ("0" * ID_LENGTH, "f" * ID_LENGTH, ids[0][::-1]))
    file.write_bytes(b"")
    assert ids[0] not in KnownIds(file)


def test_a_long_recording_has_the_same_rows(tmp_path: Path, monkeypatch: MonkeyPatch) -> None:
    (tmp_path / "known").touch()
    monkeypatch.setattr(worker, "_known", worker.KnownIds(tmp_path / "known"), raising=False)
    cut = tmp_path / "cut.vtr"
    cut.write_bytes(GOLDEN.read_bytes()[:-1000])
    found = [Found(str(path), datetime(2026, 1, 1, tzinfo=UTC)) for path in (*GOLDENS, cut)]
    in_memory = worker.read(found)
    assert len(in_memory.boots) == len(found)
    monkeypatch.setattr(worker, "_IN_MEMORY", 1000)
    assert worker.read(found) == in_memory


def _sleep() -> None:
    time.sleep(60)


def test_what_ends_an_import_ends_its_own_processes_alone(tmp_path: Path) -> None:
    other = multiprocessing.get_context("fork").Process(target=_sleep)
    other.start()

    def stop(_done: importer.Imported) -> None:
        raise KeyboardInterrupt

    found = iter([Found(str(GOLDEN), None)])
    try:
        with pytest.raises(KeyboardInterrupt):
            importer.import_recordings(create(tmp_path / "lake"), found, 1, stop)
        other.join(1)
        assert other.is_alive()
    finally:
        other.kill()
