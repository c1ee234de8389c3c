# SPDX-License-Identifier: GPL-2.0-or-later
"""`make matrix`: runs the plan tests/matrix.toml; prints one line per device and a total.

    python -m tests.matrix [KERNEL ...]

Each device's state, driver, step, errno, transport, status, features and virtqueues are compared
with sysfs, the kernel's log and QEMU. The exit status is 1 if something is wrong. A complete run
writes docs/kernels.md: what is known on which kernel, as it was seen. A KERNEL is a column of that
page, or a package.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests import knowledge
from tests.vm import compare, guest, hosts, qmp
from tests.vm.guest import Boot
from virtio_trace.errors import VirtioTraceError

PLAN = Path(__file__).with_suffix(".toml")


def _kernels() -> dict[str, str]:
    known = tomllib.loads(PLAN.read_text("utf-8"))["kernel"]
    return {name.replace("-", " "): kernel["debian"] for name, kernel in known.items()}


KERNELS = _kernels()
"""The package of each column of docs/kernels.md."""

_BOARD = "board"


@dataclass(frozen=True, slots=True)
class Case:
    """A line of output: what was examined, and what is wrong with it."""

    name: str
    known: str
    wrong: list[str]

    def __str__(self) -> str:
        return f"{'WRONG' if self.wrong else 'ok   '} {self.name}: " + (
            "; ".join(self.wrong) or self.known
        )


def cases(booted: Boot) -> list[Case]:
    """Cases for the recording itself, the verdict, and every device of the board."""
    report = booted.report()
    release = report["kernel"]["release"]
    rows = compare.rows(booted)
    failed = [f"0000:00:{slot}" for slot, row in rows.items() if row.state == "failed"]
    found = [
        _recording(f"{release} recording", report["recording"]),
        _verdict(f"{release} verdict", booted.check()[1], failed),
    ]
    for slot, row in rows.items():
        items = list(row.compare())
        wrong = [
            f"{item.aspect} is {_short(item.ours)}, by {item.by} {_short(item.theirs)}"
            for item in items
            if not item.right
        ]
        aspects = {item.aspect for item in items}
        known = " ".join(aspect for aspect in compare.ASPECTS if aspect in aspects)
        if row.early:
            known += " (present before the recording began)"
        what = f"{row.device['state']} {row.device['driver'] or ''}".strip()
        found.append(Case(f"{release} {slot} {row.slot.type} {what}", known, wrong))
    return found


def _recording(name: str, recording: dict[str, Any]) -> Case:
    wrong = [f"{recording['lost']} events lost"] if recording["lost"] else []
    if recording["ended"] != "command":
        wrong.append(f"ended by {recording['ended']}")
    known = "complete; every probe point is armed, or its module is not loaded"
    # The kernel's command line is limited: points that did not fit were armed later and are listed.
    late = [p for p in recording["unseen"] if (p["reason"] or "").startswith("at boot: not on")]
    if late:
        names = dict.fromkeys(probe["probe"] for probe in late)
        known += f"; no room on the kernel's command line at boot: {', '.join(names)}"
    for probe in recording["unseen"]:
        why = probe["reason"] or f"{probe['missed']} missed"
        if probe not in late:
            wrong.append(f"{probe['probe']} ({probe['module'] or 'built in'}): {why}")
    return Case(name, known, wrong)


def _verdict(name: str, check: dict[str, Any], failed: list[str]) -> Case:
    """Exactly the devices that failed must have errors."""
    errors = [f["subject"] for f in check["findings"] if f["severity"] == "error"]
    wrong = [] if errors == failed else [f"errors at {errors}, but {failed} failed"]
    if check["verdict"] != "DEVIATES":
        wrong.append(f"the verdict is {check['verdict']}")
    return Case(name, f"{check['verdict']} because of {len(failed)} devices that failed", wrong)


def _short(value: Any) -> str:
    text = str(sorted(value) if isinstance(value, set | frozenset) else value)
    return text if len(text) < 200 else text[:197] + "..."


def chosen(wanted: list[str]) -> dict[str, str]:
    """The packages by column: all, or those in WANTED, by column or package."""
    return {name: KERNELS.get(name, name) for name in wanted or KERNELS}


def plan_for(kernels: dict[str, str]) -> tuple[str, dict[str, str]]:
    """The plan for KERNELS, packages by column; and their names in it, by column."""
    text = PLAN.read_text("utf-8")
    names = {}
    for number, (column, package) in enumerate(kernels.items()):
        names[column] = column.replace(" ", "-") if column in KERNELS else f"other{number}"
        if column not in KERNELS:
            text += f"\n[kernel.{names[column]}]\ndebian = {json.dumps(package)}\n"
    return f"{text}\n[[case]]\nkernels = {json.dumps(list(names.values()))}\n", names


def run(kernels: dict[str, str], folder: Path) -> dict[str, Boot]:
    """Runs the plan for KERNELS in FOLDER; the boots that have a recording, by column."""
    text, names = plan_for(kernels)
    (folder / "plan.toml").write_text(text, "utf-8")
    out = folder / "out"
    with hosts.serving(out, lambda _name, monitor: qmp.devices(monitor)) as served:
        command = [*guest.COMMAND, "matrix", str(folder / "plan.toml"), "-o", str(out), "--trust"]
        subprocess.run(command, check=False)
    found = {}
    for column, name in names.items():
        case = out / "cases" / name / _BOARD / "1"
        if (case / "recording.vtr").is_file():
            found[column] = _boot(kernels[column], case, served.answers(name, _BOARD, 1))
    return found


def _boot(package: str, case: Path, answers: dict[str, Any]) -> Boot:
    result = json.loads((case / "result.json").read_text("utf-8"))
    console = (case / "console.txt").read_text("utf-8", "replace").replace("\r", "")
    log, sections = guest.cut(console)
    return Boot(
        package,
        result["attempts"][-1]["status"],
        (case / "boot.txt").read_text("utf-8"),
        (case / "boot.log").read_text("utf-8"),
        console,
        case / "recording.vtr",
        sections,
        log,
        answers,
    )


def main(wanted: list[str]) -> int:
    """Run the plan, and compare each boot in turn."""
    kernels = chosen(wanted)
    found = []
    with tempfile.TemporaryDirectory(prefix="vt-matrix-") as folder:
        done = run(kernels, Path(folder))
        for name, package in kernels.items():
            if name not in done:
                found.append(Case(package, "", ["there is no recording"]))
                continue
            try:
                found += cases(done[name])
            except (VirtioTraceError, AssertionError, LookupError, ValueError) as error:
                found.append(Case(package, "", [f"{type(error).__name__}: {error}"]))
                del done[name]
        print(*found, sep="\n", flush=True)
        if not wanted and done.keys() == kernels.keys():
            knowledge.write({name: (b.report(), b.lines()[-1]) for name, b in done.items()})
    bad = sum(bool(case.wrong) for case in found)
    print(f"{len(done)} of {len(kernels)} kernels, {len(found)} cases: {bad} wrong")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
