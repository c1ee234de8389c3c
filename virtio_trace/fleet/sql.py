# SPDX-License-Identifier: GPL-2.0-or-later
"""A SELECT over the tables of a lake, which can read nothing else and write nothing.

The only file that imports duckdb. The connection is in memory. Before the query is run, DuckDB may
read the files of the lake only (allowed_paths, enable_external_access), load no extension, and its
configuration is locked. A COPY could still overwrite one of these files: only SELECT is run.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from virtio_trace.errors import BadInputError, CannotTraceError, UsageError
from virtio_trace.fleet.extra import missing
from virtio_trace.fleet.lake import Lake
from virtio_trace.fleet.schema import TABLES

try:
    import duckdb
except ImportError as error:
    raise missing("duckdb", "fleet") from error

_BLOCK = 1000


@dataclass(frozen=True, slots=True)
class Answer:
    """The names of the columns, and the rows, which can be iterated over once."""

    columns: tuple[str, ...]
    rows: Iterator[tuple[Any, ...]]


@contextlib.contextmanager
def ask(lake: Lake, query: str) -> Iterator[Answer]:
    """The answer to QUERY. Raises UsageError for a wrong query, and for one that is no SELECT;
    BadInputError if the lake is damaged."""
    with tempfile.TemporaryDirectory(prefix="virtio-trace-") as spill:
        connection = duckdb.connect()
        try:
            _make_views(connection, lake)
            _lock(connection, lake, spill)
            yield _answer(connection, query)
        finally:
            connection.close()


def _make_views(connection: Any, lake: Lake) -> None:
    for table, columns in TABLES.items():
        paths = lake.files(table)
        if not paths:
            raise BadInputError(f"{lake.folder}: no recordings", "virtio-trace fleet import")
        names = ", ".join(_quoted(str(path.absolute())) for path in paths)
        wanted = ", ".join(f'"{column.name}"' for column in columns)
        reading = f"read_parquet([{names}], hive_partitioning = false)"
        with _as_bad_input(lake):
            connection.execute(f'CREATE VIEW "{table}" AS SELECT {wanted} FROM {reading}')


def _lock(connection: Any, lake: Lake, spill: str) -> None:
    paths = [str(path.absolute()) for table in TABLES for path in lake.files(table)]
    connection.execute(f"SET temp_directory = {_quoted(spill)}")
    connection.execute("SET TimeZone = 'UTC'")
    connection.execute(f"SET allowed_paths = [{', '.join(map(_quoted, paths))}]")
    connection.execute("SET autoinstall_known_extensions = false")
    connection.execute("SET autoload_known_extensions = false")
    connection.execute("SET enable_external_access = false")  # Python's variables are external, too
    connection.execute("SET lock_configuration = true")


def _answer(connection: Any, query: str) -> Answer:
    with _as_usage():
        statements = connection.extract_statements(query)
    kinds = [statement.type for statement in statements]
    if kinds != [duckdb.StatementType.SELECT]:
        raise UsageError("the query is not one SELECT", "a lake is only read")
    with _as_usage():
        found = connection.execute(statements[0])
    columns = tuple(column[0] for column in found.description)
    return Answer(columns, _rows(found))


def _rows(found: Any) -> Iterator[tuple[Any, ...]]:
    while True:
        with _as_usage():
            block = found.fetchmany(_BLOCK)
        if not block:
            return
        yield from block


@contextlib.contextmanager
def _as_usage() -> Iterator[None]:
    try:
        yield
    except duckdb.OutOfMemoryException as error:
        raise CannotTraceError(f"not enough memory: {_first(error)}") from error
    except duckdb.Error as error:
        raise UsageError(_first(error), "the tables and columns: docs/fleet.md") from error


@contextlib.contextmanager
def _as_bad_input(lake: Lake) -> Iterator[None]:
    try:
        yield
    except duckdb.Error as error:
        raise BadInputError(f"{lake.folder}: {_first(error)}") from error


def _first(error: Exception) -> str:
    return str(error).splitlines()[0]


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
