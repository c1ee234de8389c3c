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
from virtio_trace.graph import builder
from virtio_trace.graph.model import Graph
from virtio_trace.recording import reader
from virtio_trace.render.escape import escape
from virtio_trace.render.grid import grid, wrap
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


def shown_table(summary: dict[str, Any], width: int | None = None) -> str:
    out = io.StringIO()
    table(summary, out, width)
    return out.getvalue()


@pytest.mark.parametrize("width", [80, 100, 200])
@pytest.mark.parametrize("name", NAMES)
def test_a_table_fits_and_is_complete(name: str, width: int) -> None:
    summary = report.summarize(built(name))
    shown = shown_table(summary, width)
    assert max(map(len, shown.splitlines())) <= width
    # word by word, as cells are wrapped
    wide = shown_table(summary, 1000)
    words = {word for word in re.findall(r"[^\s]+", wide) if len(word) > 3}
    narrow = squeezed(shown)
    assert all(part in narrow for word in words for part in re.findall(r"[a-zA-Z0-9]+", word))


@pytest.mark.parametrize("name", NAMES)
def test_each_binding_has_its_result_and_duration(name: str) -> None:
    summary = report.summarize(built(name))
    if not summary["bindings"]:
        assert "BINDINGS" not in shown_table(summary, 200)
        return
    shown = shown_table(summary, 200).split("BINDINGS")[1].splitlines()[2:]
    for binding, row in zip(summary["bindings"], shown, strict=False):
        assert row.startswith(seconds(binding["started_ns"]))
        assert row.endswith(f"{result(binding['result'])}  {duration(binding['duration_ns'])}") or (
            binding["result"] == 0 and re.search(r"  0 +" + duration(binding["duration_ns"]), row)
        )


def test_a_reason_is_shown_once_below_the_tables() -> None:
    lines = golden("debian-6.1")
    for probe in ("driver_probe", "virtio_dev_probe"):
        lines = change(lines, at(probe, driver="virtio_net", kind="return"), result=-12)
    summary = report.summarize(builder.build(reader.read(dump(lines), "x")))
    shown = shown_table(summary)
    reasons = shown.split("REASONS")[1]
    assert reasons.count("virtnet_probe [virtio_net] returned -12 (ENOMEM)") == 1
    assert "driver-probed" in reasons


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
    assert shown.splitlines()[-1].startswith(found.verdict)
    narrow = squeezed(shown)
    for step in found.steps:
        assert squeezed(step.subject) in narrow
    for finding in found.findings:
        assert finding.before or squeezed(finding.message) in narrow
        assert all(str(seq) in shown for seq in finding.events[:8])


def test_a_step_that_failed_once_in_many_is_not_hidden() -> None:
    steps = [StepResult("bus-probed", "0000:00:02.0", ok) for ok in (True, True, False)]
    findings = [Finding(ERROR, "bus-probed", "0000:00:02.0", "no", (n,)) for n in range(12)]
    out = io.StringIO()
    text(Result(DEVIATES, "linux", steps, findings), out)
    assert "1 FAILED, 2 ok" in out.getvalue()
    assert "(12 times)" in out.getvalue()
    assert "0, 1, 2, 3, 4, 5, 6, 7 and 4 more]" in out.getvalue()


def test_wrap_breaks_where_names_do() -> None:
    assert wrap("vmw_vsock_virtio_transport", 12) == ["vmw_vsock_", "virtio_", "transport"]
    assert wrap("virtnet_probe [virtio_net]", 16) == ["virtnet_probe", "[virtio_net]"]
    assert wrap("x" * 25, 10) == ["x" * 10, "x" * 10, "x" * 5]


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


def test_an_address_is_not_cut_while_other_columns_can_be_narrower() -> None:
    address, names = (
        "0000:00:02.0",
        ["virtio_balloon", "virtballoon_probe [virtio_balloon]", "-22 EINVAL"],
    )
    for width in (50, 60, 70):
        shown = grid(["address", "driver", "function", "result"], [[address, *names]], width, plain)
        assert address in shown
        assert max(map(len, shown.splitlines())) <= width
