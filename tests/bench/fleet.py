# SPDX-License-Identifier: GPL-2.0-or-later
"""make fleet-bench: an import of 5,000 recordings, and a summary of a million boots.

At least 100 recordings a second on two processors, in flat memory; a summary of 5,000 boots within
2 s. The million is simulated: rows by the schema, made by DuckDB out of those of 5,000 boots, with
ids, days and times of their own. FOLDER keeps the files; without it, they are removed.
"""

from __future__ import annotations

import datetime
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import duckdb

from virtio_trace.fleet.lake import Lake, create, open_lake, temporary
from virtio_trace.fleet.schema import TABLES

GOLDEN = Path(__file__).resolve().parents[1] / "golden"
RECORDINGS = 5000
JOBS = 2
RATE = 100
"""Recordings a second, at least."""
SUMMARY_SECONDS = 2.0
FLAT = 1.15
"""Peak memory for all recordings, at most so many times that for two fifths of them."""
BLOCKS, COPIES = 10, 20
"""Each block is a batch of so many copies of the boots."""

_DAYS = 90
_FIRST_DAY = datetime.datetime(2026, 8, 1, tzinfo=datetime.UTC)


def main() -> None:
    """Measure and print."""
    if len(sys.argv) > 1:
        sys.exit(_measured(Path(sys.argv[1])))
    with tempfile.TemporaryDirectory() as folder:
        sys.exit(_measured(Path(folder)))


def make_recordings(folder: Path, count: int) -> int:
    """Write COUNT recordings, copies of the golden ones that are not the same, over 90 days.
    Returns their size in bytes."""
    texts = [path.read_bytes() for path in sorted(GOLDEN.glob("*.vtr"))]
    size = 0
    for number in range(count):
        header, rest = texts[number % len(texts)].split(b"\n", 1)
        document = json.loads(header) | {"tool": f"copy {number}"}
        made = json.dumps(document, separators=(",", ":")).encode() + b"\n" + rest
        path = folder / f"{number // 1000:03}" / f"{number:06}.vtr"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(made)
        when = _FIRST_DAY.timestamp() + number * _DAYS * 86_400 / count
        os.utime(path, (when, when))
        size += len(made)
    return size


def _measured(folder: Path) -> str | None:
    files, lake = folder / "recordings", folder / "lake"
    size = make_recordings(files, RECORDINGS)
    _, little = _import([files / "000", files / "001"], folder / "first", 2000)
    rate, much = _import([files], lake, RECORDINGS)
    print(
        f"fleet import: {RECORDINGS:,} recordings, {size / 1e6:.0f} MB, {JOBS} processes:"
        f" {rate:.0f} a second (at least {RATE}); peak {much:.0f} MB"
        f" ({little:.0f} MB for 2,000); the lake has {_size(lake) / 1e6:.1f} MB"
    )
    seconds, peak = _summary(lake)
    print(f"fleet summary: {seconds:.2f} s (at most {SUMMARY_SECONDS}), {peak:.0f} MB")
    big = folder / "million"
    began = time.monotonic()
    _simulate(open_lake(lake), create(big))
    boots = RECORDINGS * BLOCKS * COPIES
    print(
        f"{boots:,} boots simulated in {time.monotonic() - began:.0f} s: {_size(big) / 1e6:,.0f} MB"
        f" of Parquet, {_rows(big):,} rows"
    )
    long, peak = _summary(big)
    print(f"fleet summary of {boots:,} boots: {long:.1f} s, {peak:,.0f} MB")
    over = [f"{rate:.0f} recordings a second"] if rate < RATE else []
    over += [f"a summary in {seconds:.2f} s"] if seconds > SUMMARY_SECONDS else []
    over += ["memory"] if much > FLAT * little else []
    return f"over the limit: {', '.join(over)}" if over else None


def _import(files: list[Path], lake: Path, count: int) -> tuple[float, float]:
    """Recordings a second, and the peak of the resident memory of all processes, in MB."""
    seconds, peak = _run("import", *map(str, files), "-o", str(lake), "--jobs", str(JOBS))
    return count / seconds, peak


def _summary(lake: Path) -> tuple[float, float]:
    """The least wall time of three, in seconds, and the peak memory in MB."""
    runs = [_run("summary", str(lake), "--format", "json") for _ in range(3)]
    return min(seconds for seconds, _ in runs), max(peak for _, peak in runs)


def _run(*words: str) -> tuple[float, float]:
    """Wall seconds of a whole process, and the peak memory of it and its children in MB."""
    began = time.monotonic()
    argv = [sys.executable, "-m", "virtio_trace", "fleet", *words]
    process = subprocess.Popen(argv, stdout=subprocess.DEVNULL)
    peak = 0.0
    while process.poll() is None:
        peak = max(peak, _resident(process.pid))
        time.sleep(0.05)
    assert process.returncode == 0, words
    return time.monotonic() - began, peak


def _resident(pid: int) -> float:
    """The memory of process PID and its descendants, in MB: shared pages are counted once."""
    total = 0.0
    try:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text("utf-8").splitlines():
            if line.startswith("Pss:"):
                total += int(line.split()[1]) / 1024
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text("utf-8").split()
    except OSError:  # it ended
        return total
    return total + sum(_resident(int(child)) for child in children)


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*.parquet"))


def _rows(folder: Path) -> int:
    names = [str(path) for path in folder.rglob("*.parquet")]
    found = duckdb.execute("SELECT sum(num_rows) FROM parquet_file_metadata(?)", [names])
    (rows,) = found.fetchall()[0]
    return int(rows)


def _simulate(base: Lake, lake: Lake) -> None:
    """Fill LAKE with copies of the boots in BASE."""
    connection = duckdb.connect()
    for block in range(BLOCKS):
        written = {}
        for table in TABLES:
            final = lake.folder / table / "month=2026-01" / f"block{block}.parquet"
            final.parent.mkdir(parents=True, exist_ok=True)
            connection.execute(_copy(base, table, block, temporary(final)))
            written[temporary(final)] = final
        with lake.locked():
            lake.commit(f"block{block}", written)


def _copy(base: Lake, table: str, block: int, to: Path) -> str:
    """SQL that writes a block of TABLE."""
    names = ", ".join(f"'{path}'" for path in base.files(table))
    changed = {
        "boot": "md5(boot || copy)",
        "day": "CAST(day + CAST(copy % 365 AS INTEGER) AS DATE)",
        "own_ns": "CAST(own_ns * (0.8 + (hash(boot, copy, phase) % 4000) / 10000.0) AS BIGINT)",
        "source": "source || '-' || copy",
    }
    columns = ", ".join(
        f'{changed.get(column.name, column.name)} AS "{column.name}"' for column in TABLES[table]
    )
    first = block * COPIES
    return (
        f"COPY (SELECT {columns} FROM read_parquet([{names}], hive_partitioning = false),"
        f" range({first}, {first + COPIES}) AS copies(copy) ORDER BY kernel, boot)"
        f" TO '{to}' (FORMAT parquet, COMPRESSION zstd)"
    )


if __name__ == "__main__":
    main()
