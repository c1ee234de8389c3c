# SPDX-License-Identifier: GPL-2.0-or-later
"""fleet sql: it reads the lake, and nothing else; it writes nothing."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import duckdb
import pytest

from tests.unit.fleet.lakes import ask, fleet
from virtio_trace.fleet.schema import TABLES

_NOT_ONE_SELECT = "the query is not one SELECT"


@pytest.mark.parametrize(
    "query",
    [
        "",
        "SELECT 1; SELECT 2",
        "SELECT 1; COPY boots TO '{out}'",
        "COPY boots TO '{out}'",
        "COPY boots TO '{boots}'",
        "COPY (SELECT 1) TO '{boots}' (FORMAT parquet)",
        "EXPORT DATABASE '{out}'",
        "ATTACH '{out}'",
        "INSTALL httpfs",
        "LOAD httpfs",
        "SET enable_external_access = true",
        "SET allowed_directories = ['/']",
        "RESET lock_configuration",
        "PRAGMA enable_profiling",
        "CREATE TABLE t AS SELECT 1",
        "INSERT INTO boots SELECT * FROM boots",
        "DROP VIEW boots",
        "CALL pragma_version()",
        "EXPLAIN ANALYZE COPY boots TO '{boots}'",
        "PREPARE x AS COPY boots TO '{boots}'",
    ],
)
def test_only_a_select_is_run(
    query: str, lake: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    boots = min((lake / "boots").rglob("*.parquet"))
    before = _state(lake)
    query = query.format(out=tmp_path / "out", boots=boots)
    assert fleet("sql", lake, query) == 2
    assert capsys.readouterr().err.startswith(f"virtio-trace: {_NOT_ONE_SELECT}\n")
    assert _state(lake) == before
    assert not any(tmp_path.iterdir())


def _state(lake: Path) -> dict[Path, tuple[int, int, int]]:
    known = {path: path.stat() for path in lake.rglob("*")}
    return {path: (one.st_ino, one.st_size, one.st_mtime_ns) for path, one in known.items()}


@pytest.mark.parametrize(
    "what",
    [
        "read_text('{other}')",
        "read_blob('{other}')",
        "read_csv('{other}')",
        "read_json('{other}')",
        "read_parquet('{parquet}')",
        "'{parquet}'",
        "glob('{folder}/*')",
        "read_parquet('http://127.0.0.1:9/x')",
        "query($$SELECT * FROM read_text('{other}')$$)",
        "sqlite_scan('{other}', 'x')",
    ],
)
def test_nothing_outside_of_the_lake_is_read(
    what: str, lake: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other, parquet = tmp_path / "secret.csv", tmp_path / "secret.parquet"
    other.write_text("secret\nzebra\n", "utf-8")
    duckdb.execute(f"COPY (SELECT 'zebra' AS secret) TO '{parquet}' (FORMAT parquet)")
    query = f"SELECT * FROM {what.format(other=other, parquet=parquet, folder=tmp_path)}"
    if not what.startswith(("read_json", "read_parquet('http", "sqlite")):
        seen = str(duckdb.execute(query).fetchall())  # without our settings
        assert "zebra" in seen or other.name in seen
    assert fleet("sql", lake, query) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert "zebra" not in told.err


def test_variables_of_this_program_are_no_tables(
    lake: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("lake", "query", "connection", "spill", "duckdb"):
        assert fleet("sql", lake, f"SELECT * FROM {name}") == 2
        assert f"Table with name {name} does not exist" in capsys.readouterr().err


def test_the_tables_are_those_of_the_schema(lake: Path) -> None:
    assert [row[0] for row in ask(lake, "SHOW TABLES")] == sorted(TABLES)
    for table, columns in TABLES.items():
        there = [row[0] for row in ask(lake, f"DESCRIBE {table}")]
        assert there == [column.name for column in columns]
        (counts,) = ask(
            lake, f"SELECT {', '.join(f'count({name})' for name in there)} FROM {table}"
        )
        assert all(counts), f"{table}: a column that never has a value: {counts}"


def test_a_wrong_query_says_what_is_wrong(lake: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert fleet("sql", lake, "SELECT nothing FROM boots") == 2
    assert 'column "nothing" not found' in capsys.readouterr().err
    assert fleet("sql", lake, "SELEC 1") == 2
    assert "syntax error" in capsys.readouterr().err


_QUERY = (
    "SELECT verdict, NULL AS none, count(*) AS n, min(day) AS day FROM boots GROUP BY 1 ORDER BY 1"
)


def test_formats(lake: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert fleet("sql", lake, _QUERY, "--format", "json") == 0
    documents = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["verdict"] for row in documents] == ["CONFORMS", "DEVIATES", "INCOMPLETE"]
    assert {row["day"] for row in documents} == {"2026-03-01"}
    assert {row["none"] for row in documents} == {None}
    assert fleet("sql", lake, _QUERY, "--format", "csv") == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [int(row["n"]) for row in rows] == [row["n"] for row in documents]
    assert fleet("sql", lake, _QUERY) == 0
    table = capsys.readouterr().out.splitlines()
    assert table[0].split() == ["verdict", "none", "n", "day"]
    assert table[1].split() == ["CONFORMS", str(documents[0]["n"]), "2026-03-01"]


def test_text_in_the_lake_cannot_control_the_terminal(
    lake: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert fleet("sql", lake, "SELECT chr(27) || '[31m' AS text") == 0
    assert "\x1b" not in capsys.readouterr().out
