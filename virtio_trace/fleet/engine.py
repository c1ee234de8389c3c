# SPDX-License-Identifier: GPL-2.0-or-later
"""The engines that a summary runs on: DuckDB in this process, or Spark.

Both get the same expressions of Ibis. The only file that imports ibis and pyspark.
"""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import Any

from virtio_trace.errors import BadInputError, CannotTraceError
from virtio_trace.fleet.extra import missing
from virtio_trace.fleet.lake import Lake
from virtio_trace.fleet.schema import TABLES

try:
    import ibis
except ImportError as error:
    raise missing("ibis-framework", "fleet") from error

Tables = dict[str, Any]
"""An ibis.Table for each table of the lake."""


def duckdb_tables(lake: Lake) -> Tables:
    """The tables of LAKE, on DuckDB. Raises BadInputError, CannotTraceError."""
    try:
        connection = ibis.duckdb.connect()
    except ImportError as error:
        raise missing("duckdb", "fleet") from error
    connection.raw_sql("SET enable_progress_bar = false")
    found = {}
    for table, paths in _files(lake).items():
        try:
            read = connection.read_parquet([str(path) for path in paths], hive_partitioning=False)
        except Exception as error:  # DuckDB's, which is imported in sql.py only
            raise BadInputError(f"{lake.folder}: {table}: {error}") from error
        found[table] = read
    return found


def spark_tables(lake: Lake, master: str) -> Tables:
    """The tables of LAKE, on Spark; MASTER is its URL, ``local[2]`` for this machine. Raises
    BadInputError, CannotTraceError."""
    os.environ.setdefault("SPARK_LOCAL_HOSTNAME", "localhost")
    # No pandas is used here. pyspark warns of each version that it does not know.
    warnings.filterwarnings("ignore", "PySpark does not yet fully support pandas", FutureWarning)
    try:
        from pyspark.sql import SparkSession  # noqa: PLC0415 - a library of another extra
    except ImportError as error:
        raise missing("pyspark", "spark") from error
    try:
        session = (
            SparkSession.builder.master(master)
            .appName("virtio-trace")
            .config("spark.ui.enabled", "false")
            .config("spark.ui.showConsoleProgress", "false")
            .config("spark.log.level", "ERROR")
            .config("spark.sql.session.timeZone", "UTC")
            .getOrCreate()
        )
    except Exception as error:  # of pyspark or Java
        raise CannotTraceError(
            f"Spark at {master}: {_first_line(error)}", "Spark needs Java 17: openjdk-17-jre"
        ) from error
    connection = ibis.pyspark.connect(session)
    for table, paths in _files(lake).items():
        frame = session.read.parquet(*(str(path.absolute()) for path in paths))
        frame.createOrReplaceTempView(table)
    return {table: connection.table(table) for table in TABLES}


def rows(expression: Any) -> list[dict[str, Any]]:
    """The rows of EXPRESSION."""
    found: list[dict[str, Any]] = expression.to_pyarrow().to_pylist()
    return found


def _files(lake: Lake) -> dict[str, list[Path]]:
    """The files of each table. Raises BadInputError."""
    found = {table: lake.files(table) for table in TABLES}
    if not found["boots"]:
        raise BadInputError(f"{lake.folder}: no recordings", "virtio-trace fleet import adds some")
    return found


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
