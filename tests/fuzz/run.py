# SPDX-License-Identifier: GPL-2.0-or-later
"""Fuzzes every reader with atheris: ``python -m tests.fuzz.run [--seconds N] [NAME...]``.

Each harness runs in its own process, with limits on time, memory, recursion, and the processor time
of each input. Each fault is kept in build/fuzz/NAME/found: the input, and its traceback beside it.
The grown corpus stays in build/fuzz/NAME/corpus for the next run. ``--input FILE NAME`` runs one
input, without atheris.
"""

from __future__ import annotations

import argparse
import hashlib
import re
import resource
import shutil
import subprocess
import sys
import time
import traceback
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from tests.fuzz import harnesses
from tests.fuzz.harnesses import Harness

TOP = Path(__file__).resolve().parents[2]
PLACE = TOP / "build" / "fuzz"
_SLOW_SECONDS = 5.0
"""An input of some KB that takes more processor time than this is a fault."""
_HANGS_SECONDS = 60
"""libFuzzer ends the process after this. Wall-clock time: long, as the machine may be busy."""
_DEPTH = 1000
"""Python's default. A reader that recurses deeper is at fault."""
_RESTARTS = 5
_RUNS = re.compile(r"^Done (\d+) runs", re.M)
_COVERAGE = re.compile(r"\bcov: (\d+)")
_OWN = ("virtio_trace", "tests/fuzz")


@dataclass(slots=True)
class Tally:
    """The result of one harness. ``coverage`` counts libFuzzer's counters that were hit; ``busy``
    is processor time in seconds."""

    name: str
    runs: int = 0
    coverage: int = 0
    crashes: int = 0
    seconds: float = 0.0
    busy: float = 0.0

    def __str__(self) -> str:
        return (
            f"{self.name:<12} {self.runs:>9} executions  {self.coverage:>6} covered  "
            f"{self.crashes:>3} crashes  {self.seconds:>5.0f} s ({self.busy:.0f} s busy)"
        )


def main() -> int:
    """Fuzz, or run one input. Returns the exit status: 1 where anything was found."""
    parser = argparse.ArgumentParser(prog="tests.fuzz.run", description="Fuzz the readers.")
    parser.add_argument("names", nargs="*", metavar="NAME", help="harnesses; all by default")
    parser.add_argument("--seconds", type=int, default=60, help="for each harness")
    parser.add_argument("--input", type=Path, help="run this one, without atheris")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    unknown = set(asked.names) - set(harnesses.names())
    if unknown:
        parser.error(f"{', '.join(sorted(unknown))}: not among {', '.join(harnesses.names())}")
    if asked.input is not None:
        for name in asked.names:
            taken = harnesses.load(name).answers(asked.input.read_bytes())
            print(f"{name}: {'taken' if taken else 'refused'}")
        return 0
    if asked.child:
        _fuzz(asked.names[0], asked.seconds)
        return 0
    return _all(asked.names or harnesses.names(), asked.seconds)


def _all(names: list[str], seconds: int) -> int:
    crashes = 0
    for name in names:
        tally = _supervise(name, seconds)
        crashes += tally.crashes
        print(tally, flush=True)
        for text in sorted(_found(name).glob("*.txt")):
            print(f"  {text.with_suffix('')}: {text.read_text('utf-8').splitlines()[-1][:150]}")
    return 1 if crashes else 0


def _found(name: str) -> Path:
    return PLACE / name / "found"


def _supervise(name: str, seconds: int) -> Tally:
    """Run the harness NAME for SECONDS. Restart it when an input ends its process."""
    found = _found(name)
    shutil.rmtree(found, ignore_errors=True)
    found.mkdir(parents=True)
    tally, start, before = Tally(name), time.monotonic(), _busy()
    for _ in range(_RESTARTS):
        left = round(seconds - (time.monotonic() - start))
        if left <= 0:
            break
        command = (sys.executable, "-m", "tests.fuzz.run", "--child", "--seconds", str(left), name)
        done = subprocess.run(
            command, cwd=TOP, check=False, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
            text=True, errors="replace",
        )  # fmt: skip
        tally.runs += sum(map(int, _RUNS.findall(done.stderr)))
        tally.coverage = max([tally.coverage, *map(int, _COVERAGE.findall(done.stderr))])
        if done.returncode == 0:
            break
        # A signal, a hang or no memory: libFuzzer has written the input to FOUND.
        (found / f"ended-{len(list(found.iterdir()))}.txt").write_text(done.stderr[-8000:], "utf-8")
    tally.crashes = len(list(found.glob("*.txt")))
    tally.seconds, tally.busy = time.monotonic() - start, _busy() - before
    return tally


def _busy() -> float:
    """Processor seconds of all processes that were waited for."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _fuzz(name: str, seconds: int) -> None:
    """Fuzz in this process; libFuzzer ends it."""
    import atheris  # noqa: PLC0415  (not needed to run one input)

    with atheris.instrument_imports(include=["virtio_trace"]):
        harness = harnesses.load(name)
    corpus = PLACE / name / "corpus"
    corpus.mkdir(parents=True, exist_ok=True)
    words = PLACE / name / "words"  # libFuzzer refuses an empty dictionary
    lines = [f'"{_escaped(word)}"\n' for word in (*harness.words, b"\0") if len(word) < 100]
    words.write_text("".join(lines), "ascii")
    arguments = [
        sys.argv[0], f"-max_total_time={seconds}", f"-timeout={_HANGS_SECONDS}",
        f"-rss_limit_mb={harness.megabytes}", f"-max_len={harness.longest}",
        f"-dict={words}", f"-artifact_prefix={_found(name)}/", "-use_value_profile=0",
        "-print_final_stats=1", str(corpus), str(harnesses.CORPUS / name),
    ]  # fmt: skip
    atheris.Setup(arguments, _Catcher(harness), custom_mutator=_mutator(atheris, harness))
    _bound(harness)
    atheris.Fuzz()


def _mutator(atheris: Any, harness: Harness) -> Any:
    def mutate(data: bytes, longest: int, seed: int) -> bytes:
        random = Random(seed)
        if random.random() < 0.5:
            return bytes(atheris.Mutate(data, len(data)))[:longest]
        return harness.mutated(data, random)[:longest]

    return mutate


def _bound(harness: Harness) -> None:
    sys.setrecursionlimit(_DEPTH)
    pages = int(Path("/proc/self/statm").read_text("ascii").split()[0])
    limit = pages * resource.getpagesize() + (harness.megabytes << 20)
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def _escaped(word: bytes) -> str:
    return "".join(f"\\x{byte:02x}" for byte in word)


class _Catcher:
    """Passes inputs to the harness. Keeps the first input of each fault and goes on, so that one
    fault does not hide the others."""

    def __init__(self, harness: Harness) -> None:
        self._harness = harness
        self._known: set[str] = set()

    def __call__(self, data: bytes) -> None:
        began = time.process_time()
        try:
            self._harness.answers(data)
        except Exception as error:  # any exception at all is a fault
            self._keep(data, _where(error), "".join(traceback.format_exception(error)))
        took = time.process_time() - began
        if took > _SLOW_SECONDS:
            self._keep(data, "slow", f"took {took:.1f} s of processor time\n")

    def _keep(self, data: bytes, where: str, text: str) -> None:
        if where in self._known:
            return
        self._known.add(where)
        name = hashlib.sha256(where.encode()).hexdigest()[:12]
        (_found(self._harness.name) / name).write_bytes(data)
        (_found(self._harness.name) / f"{name}.txt").write_text(text, "utf-8", "backslashreplace")


def _where(error: Exception) -> str:
    """What tells faults apart: the type, and the innermost line of our own code."""
    why = error.__cause__ if isinstance(error, AssertionError) else None
    frames = traceback.extract_tb((why or error).__traceback__)
    ours = [frame for frame in frames if any(part in frame.filename for part in _OWN)]
    last = (ours or frames)[-1]
    return f"{type(error).__name__} {last.filename} {last.name} {last.line}"


if __name__ == "__main__":
    sys.exit(main())
