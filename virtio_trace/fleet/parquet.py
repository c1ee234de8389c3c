# SPDX-License-Identifier: GPL-2.0-or-later
"""Writes rows as Parquet files, and reads the ids of boots.

The only file that imports pyarrow.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from virtio_trace.errors import BadInputError
from virtio_trace.fleet.extra import missing
from virtio_trace.fleet.rows import Row
from virtio_trace.fleet.schema import BOOL, DAY, FLOAT, INT, SCHEMA, TABLES, TEXT, TIME

try:
    import pyarrow as arrow
    from pyarrow import parquet
except ImportError as error:
    raise missing("pyarrow", "fleet") from error

_KINDS = {
    TEXT: arrow.string(),
    INT: arrow.int64(),
    FLOAT: arrow.float64(),
    BOOL: arrow.bool_(),
    DAY: arrow.date32(),
    TIME: arrow.timestamp("us", tz="UTC"),
}
_INT_END = 1 << 63
_GROUP = 1 << 20
"""Rows of a row group."""


def write(path: Path, table: str, rows: list[Row]) -> None:
    """Write ROWS of TABLE to PATH. Raises OSError."""
    columns = TABLES[table]
    schema = arrow.schema(
        [(column.name, _KINDS[column.kind]) for column in columns], {"schema": SCHEMA}
    )
    by_column = zip(*rows, strict=True) if rows else ((),) * len(columns)
    arrays = [
        _array(values, _KINDS[column.kind])
        for column, values in zip(columns, by_column, strict=True)
    ]
    made = arrow.Table.from_arrays(arrays, schema=schema)
    parquet.write_table(made, path, compression="zstd", row_group_size=_GROUP)


def _array(values: Sequence[Any], kind: arrow.DataType) -> arrow.Array:
    """VALUES as a column. JSON and file names may have what Parquet cannot store: half a surrogate
    pair becomes ``?``, and an integer of more than 64 bits is unknown."""
    try:
        return arrow.array(values, kind)
    except UnicodeEncodeError:
        texts = [one and one.encode("utf-8", "replace").decode() for one in values]
        return arrow.array(texts, kind)
    except (OverflowError, arrow.ArrowInvalid):
        numbers = [one if one is None or -_INT_END <= one < _INT_END else None for one in values]
        return arrow.array(numbers, kind)


def sorted_ids(paths: Iterable[Path]) -> bytes:
    """The ids in PATHS, files of table boots, sorted, one after the other. Raises BadInputError."""
    tables = [_ids(path) for path in paths]
    if not tables:
        return b""
    ids = arrow.chunked_array([chunk for one in tables for chunk in one.chunks], arrow.string())
    # take() of all keeps the strings together, without a gap
    joined = ids.take(arrow.compute.sort_indices(ids)).combine_chunks()
    return "".join(joined.to_pylist()).encode()


def ids(path: Path) -> set[str]:
    """The ids in PATH. Raises BadInputError."""
    return set(_ids(path).to_pylist())


def _ids(path: Path) -> arrow.ChunkedArray:
    try:
        return parquet.read_table(path, columns=["boot"], partitioning=None).column("boot")
    except (arrow.ArrowException, OSError) as error:
        raise BadInputError(f"{path}: damaged: {error}", "import its recordings again") from error
