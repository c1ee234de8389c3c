# SPDX-License-Identifier: GPL-2.0-or-later
"""Tables and the text of a check: they fit, are complete, and say once what went wrong."""

from __future__ import annotations

import io
import re
from typing import Any

import pytest

from tests.unit.surgery import GOLDEN, at, change, dump, golden
from virtio_trace.check import verdict
from virtio_trace.check.findings import DEVIATES, ERROR, Finding, Result, StepResult
from virtio_trace.check.profiles import PROFILES
from virtio_trace.graph import builder
from virtio_trace.graph.model import Graph
from virtio_trace.recording import reader
from virtio_trace.render import report_rows
from virtio_trace.render.escape import escape
from virtio_trace.render.grid import grid, grid_lines, wrap
from virtio_trace.render.table import table
from virtio_trace.render.text import text
from virtio_trace.render.words import duration, plain, result, seconds
from virtio_trace.report import summary as report

NAMES = [path.stem for path in sorted(GOLDEN.glob("*.vtr"))]


def built(name: str) -> Graph:
    return builder.build(reader.read(dump(golden(name)), name))


def squeezed(shown: str) -> str:
    """Without white space, which wrapping changes."""
    return re.sub(r"\s+", "", shown)


def shown_table(summary: dict[str, Any], width: int | None = None, verbose: bool = False) -> str:
    out = io.StringIO()
    table(summary, out, width, verbose=verbose)
    return out.getvalue()


LEFT_OUT = "left out for want of room: "


@pytest.mark.parametrize("verbose", [False, True])
@pytest.mark.parametrize("width", [80, 100, 200])
@pytest.mark.parametrize("name", NAMES)
def test_a_table_fits_and_breaks_no_word(name: str, width: int, verbose: bool) -> None:
    """At any width, each word is one of the whole table; and only columns that are said to be left
    out are."""
    summary = report.summarize(built(name))
    shown = shown_table(summary, width, verbose)
    assert max(map(len, shown.splitlines())) <= width
    wide = shown_table(summary, None, verbose)
    there = {*wide.split(), *(word for c in SPARE for word in c.split())}
    named = [line for line in shown.splitlines() if line.startswith(LEFT_OUT)]
    words = [w for line in shown.splitlines() if line not in named for w in line.split()]
    assert {*words} <= there
    gone = {column for line in named for column in SPARE if column in line}
    assert bool(gone) == bool(named)
    if not named:
        assert [w for w in words if len(w) > 3] == [w for w in wide.split() if len(w) > 3]


SPARE = {
    column
    for table in (report_rows.DEVICES, report_rows.DRIVERS, report_rows.BINDINGS, report_rows.BOOT)
    for column in table.spare
}


def test_columns_are_left_out_in_their_order() -> None:
    rows = [["virtio0", "0000:00:02.0", "network", "x" * 20]]
    heading = ["name", "address", "type", "what"]

    def shown(width: int) -> list[str]:
        return list(grid_lines(heading, rows, width, plain, spare=("type", "name")))

    assert shown(52)[0].split() == heading
    assert shown(51)[0].split() == ["name", "address", "what"]
    assert " ".join(shown(51)[2:]) == f"{LEFT_OUT}type (COLUMNS=52 shows all)"
    assert shown(42)[0].split() == ["address", "what"]
    assert " ".join(shown(40)[2:]) == f"{LEFT_OUT}type, name (COLUMNS=52 shows all)"
    assert shown(20)[1].split() == ["0000:00:02.0", "x" * 20]  # neither is broken


def test_headings_break_at_their_hyphens_and_cells_do_not() -> None:
    shown = list(grid_lines(["device-registered", "b"], [["pci-modern", "x"]], 15, plain))
    assert [line.split() for line in shown] == [
        ["device-", "b"],
        ["registered"],
        ["pci-modern", "x"],
    ]


@pytest.mark.parametrize("name", NAMES)
def test_each_binding_has_its_result_and_duration(name: str) -> None:
    summary = report.summarize(built(name))
    if not summary["bindings"]:
        assert "BINDINGS" not in shown_table(summary, 200)
        return
    shown = shown_table(summary, 200).split("BINDINGS")[1].splitlines()[2:]
    for binding, row in zip(summary["bindings"], shown, strict=False):
        assert row.split()[0] == seconds(binding["started_ns"])
        took = duration(binding["duration_ns"])
        assert re.search(rf"  {re.escape(result(binding['result']))} +{re.escape(took)}$", row)


def test_a_reason_is_shown_once_above_the_tables() -> None:
    lines = golden("debian-6.1")
    for probe in ("driver_probe", "virtio_dev_probe"):
        lines = change(lines, at(probe, driver="virtio_net", kind="return"), result=-12)
    summary = report.summarize(builder.build(reader.read(dump(lines), "x")))
    shown = shown_table(summary)
    problems = shown.split("PROBLEMS")[1].split("DEVICES")[0]
    assert problems.count("virtnet_probe [virtio_net] returned -12 (ENOMEM)") == 1
    assert shown.count("virtnet_probe [virtio_net] returned -12 (ENOMEM)") == 1
    assert "driver-probed" in problems
    rows = shown.split("DEVICES\n")[1].splitlines()
    assert " failed " in rows[1] and all(" bound " in row for row in rows[2:4])
    assert shown.splitlines()[0] == shown.splitlines()[-1]
    assert "1 failed, 2 bound" in shown.splitlines()[0]


def test_an_empty_recording_has_a_report() -> None:
    lines = golden("debian-6.1")
    empty = [{**lines[0], "snapshot": {"bus": False, "devices": [], "drivers": []}}]
    shown = shown_table(report.summarize(builder.build(reader.read(dump(empty), "x"))))
    assert "0 devices; 0 drivers; 0 bindings; 0 events, none lost, cut short" in shown


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("width", [80, 100])
def test_a_check_has_every_subject_step_and_message(name: str, width: int) -> None:
    found = verdict.check(built(name))
    out = io.StringIO()
    text(found, out, width)
    shown = out.getvalue()
    assert max(map(len, shown.splitlines())) <= width
    first, *_, last = shown.rstrip("\n").split("\n\n")
    assert first == last
    assert last.startswith(found.verdict)
    severe = [f for f in found.findings if f.severity != "note" and not f.before]
    assert not severe or shown.index("S (") < shown.index("\nsubject ")
    narrow = squeezed(shown)
    for step in found.steps:
        assert squeezed(step.subject) in narrow
    for finding in found.findings:
        assert finding.before or squeezed(finding.message) in narrow
        assert all(str(seq) in shown for seq in finding.events[:8])


@pytest.mark.parametrize("width", [80, 100])
@pytest.mark.parametrize("profile", ["linux", "spec"])
def test_verbose_has_each_steps_text_and_source_within_the_width(profile: str, width: int) -> None:
    found = verdict.check(built("debian-6.1-host"), profile)
    out = io.StringIO()
    text(found, out, width, verbose=True)
    shown = out.getvalue()
    assert max(map(len, shown.splitlines())) <= width
    taken = {step.id for step in found.steps}
    for step in PROFILES[profile]:
        assert step.id not in taken or squeezed(f"{step.id}: {step.text}") in squeezed(shown)
        assert step.id not in taken or squeezed(step.source) in squeezed(shown)


def test_a_step_that_failed_once_in_many_is_not_hidden() -> None:
    steps = [StepResult("bus-probed", "0000:00:02.0", ok) for ok in (True, True, False)]
    findings = [Finding(ERROR, "bus-probed", "0000:00:02.0", "no", (n,)) for n in range(12)]
    out = io.StringIO()
    text(Result(DEVIATES, "linux", steps, findings), out)
    assert "1 FAILED, 2 ok" in out.getvalue()
    assert "(12 times)" in out.getvalue()
    assert "0, 1, 2, 3, 4, 5, 6, 7 and 4 more]" in out.getvalue()


def test_wrap_breaks_no_word() -> None:
    assert wrap("vmw_vsock_virtio_transport", 12) == ["vmw_vsock_virtio_transport"]
    assert wrap("virtnet_probe [virtio_net]", 16) == ["virtnet_probe", "[virtio_net]"]
    assert wrap("at 0000:00:02.0 now", 9) == ["at", "0000:00:02.0", "now"]
    assert wrap("one line " * 99, None) == ["one line " * 99]


def test_a_grid_narrows_its_widest_column() -> None:
    shown = grid(["a", "b"], [["x" * 10, "word " * 10]], 40, plain)
    assert max(map(len, shown.splitlines())) <= 40
    assert "x" * 10 in shown


def test_names_in_a_grid_are_escaped() -> None:
    assert "\\x1b[31m\\x0a\\u200f" in grid(["a"], [["\x1b[31m\n\u200f"]], 80, plain)


@pytest.mark.parametrize(
    ("raw", "safe"),
    [
        ("virtio_net", "virtio_net"),
        ("a b", "a b"),
        ("m\u00f6dul", "m\u00f6dul"),
        ("\x1b\x07\x7f\x9b\n", "\\x1b\\x07\\x7f\\x9b\\x0a"),
        ("\u202e\u2066\u200b\u2028", "\\u202e\\u2066\\u200b\\u2028"),
        ("\ud800", "\\ud800"),
        ("\U000e0001", "\\U000e0001"),
    ],
)
def test_escape(raw: str, safe: str) -> None:
    assert escape(raw) == safe


def test_words() -> None:
    assert seconds(1_234_567_899) == "1.234567"
    assert seconds(10**18 + 1000) == "1000000000.000001"  # a float has lost the microsecond
    assert duration(1_234_567) == "1.235 ms"
    assert duration(None) == result(None) == "?"
    assert result(-22) == "-22 EINVAL"
    assert result(-517) == "-517 EPROBE_DEFER"


def test_failed_subjects_come_first() -> None:
    steps = [StepResult("bus-probed", f"device{n}", ok) for n, ok in enumerate((True, None, False))]
    out = io.StringIO()
    text(Result(DEVIATES, "linux", steps, []), out)
    rows = out.getvalue().split("subject ")[1].splitlines()[1:4]
    assert [row.split()[0] for row in rows] == ["device2", "device1", "device0"]


def test_a_boots_share_is_shown_of_a_boot_only() -> None:
    lines = golden("debian-6.1")
    title = "TIME SINCE BOOT"
    assert title in shown_table(report.summary(reader.read(dump(lines), "x")))
    lines[0]["command"] = ["modprobe", "virtio_net"]
    found = report.summary(reader.read(dump(lines), "x"))
    assert found["boot"] is not None and found["recording"]["of_boot"] is False
    assert title not in shown_table(found)
