# SPDX-License-Identifier: GPL-2.0-or-later
"""Lakes for tests, made by the command itself."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from pathlib import Path

from tests.unit.surgery import GOLDEN
from virtio_trace.cli.main import run
from virtio_trace.fleet import sql
from virtio_trace.fleet.lake import open_lake

GOLDENS = sorted(GOLDEN.glob("*.vtr"))


def fleet(command: str, *words: object) -> int:
    """Run virtio-trace fleet COMMAND; return its exit status."""
    return run(["fleet", command, *map(str, words)])


def copy(source: Path, target: Path, number: int, day: str = "2026-03-01") -> Path:
    """Write SOURCE with another content of no meaning to TARGET, as recorded on DAY."""
    header, rest = source.read_bytes().split(b"\n", 1)
    document = json.loads(header) | {"tool": f"copy {number}"}
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(json.dumps(document).encode() + b"\n" + rest)
    when = datetime.fromisoformat(day).replace(tzinfo=UTC).timestamp()
    os.utime(target, (when, when))
    return target


def ask(lake: Path, query: str) -> list[tuple[object, ...]]:
    """The rows of QUERY over LAKE."""
    with sql.ask(open_lake(lake), query) as answer:
        return list(answer.rows)


def count(lake: Path, table: str = "boots") -> int:
    """The rows of TABLE in LAKE."""
    ((rows,),) = ask(lake, f"SELECT count(*) FROM {table}")
    assert isinstance(rows, int)
    return rows
