# SPDX-License-Identifier: GPL-2.0-or-later
"""The graph in DOT: an edge for each pair, failures marked, no name can break it."""

from __future__ import annotations

import io
import re
from typing import Any

import pytest

from tests.unit.surgery import GOLDEN, at, change, dump, golden
from virtio_trace.graph import builder
from virtio_trace.recording import reader
from virtio_trace.render.dot import dot
from virtio_trace.report import summary as report

NAMES = [path.stem for path in sorted(GOLDEN.glob("*.vtr"))]
STRING = r'"(?:[^"\\]|\\["\\n])*"'
STATEMENT = re.compile(
    rf"  (?:{STRING}|\w+)(?: -> {STRING})? \[(?:\w+=(?:{STRING}|[\w.]+)(?:, )?)+\];"
    rf"|  \{{ rank=same; {STRING}(?: -> {STRING})*(?: \[style=invis\])?; \}}"
)


def summary(lines: list[dict[str, Any]]) -> dict[str, Any]:
    return report.summarize(builder.build(reader.read(dump(lines), "x")))


def drawn(found: dict[str, Any]) -> list[str]:
    out = io.StringIO()
    dot(found, out)
    return out.getvalue().splitlines()


@pytest.mark.parametrize("name", NAMES)
def test_every_line_is_a_statement_of_dot(name: str) -> None:
    first, *lines, last = drawn(summary(golden(name)))
    assert (first, last) == ("digraph virtio {", "}")
    for line in lines:
        assert STATEMENT.fullmatch(line), line


@pytest.mark.parametrize("name", NAMES)
def test_an_edge_from_each_device_to_its_driver(name: str) -> None:
    found = summary(golden(name))
    text = drawn(found)
    for device in found["devices"]:
        if device["driver"] is not None:
            node = f"device:{device['address']}:{device['generation']}"
            edge = f'  "{node}" -> "driver:{device["driver"]}" '
            assert sum(line.startswith(edge) for line in text) == 1


def test_a_failed_binding_is_red_and_dashed_with_its_errno() -> None:
    lines = change(
        golden("debian-6.1"), at("virtio_dev_probe", driver="virtio_net", kind="return"), result=-12
    )
    found = summary(lines)
    (edge,) = [
        line for line in drawn(found) if '-> "driver:virtio_net"' in line and "-12 ENOMEM" in line
    ]
    assert "dashed" in edge
    assert edge not in drawn(summary(golden("debian-6.1")))


def test_no_name_breaks_the_quotes() -> None:
    lines = golden("debian-6.1")
    nasty = 'a"]; b -> c [label="\\'
    lines = [
        {**line, "driver": nasty} if line.get("driver") == "virtio_net" else line for line in lines
    ]
    text = drawn(summary(lines))
    assert all(STATEMENT.fullmatch(line) for line in text[1:-1])
    assert any('a\\"]; b' in line for line in text)


def test_only_the_last_generations_of_a_device_are_drawn() -> None:
    found = summary(golden("debian-6.12-rebind"))
    again = next(d for d in found["devices"] if d["generation"] == 1)
    found["devices"] += [{**again, "generation": n} for n in range(2, 500)]
    text = drawn(found)
    assert len(text) < 40
    assert sum("and 498 before it at this address" in line for line in text) == 1


def test_the_same_report_gives_the_same_text() -> None:
    assert drawn(summary(golden("debian-6.1"))) == drawn(summary(golden("debian-6.1")))


def test_devices_and_drivers_are_a_column_each_and_there_is_no_bus() -> None:
    text = drawn(summary(golden("debian-6.1")))
    columns = [line for line in text if "rank=same" in line]
    assert [re.findall(r'"([^"]*)"', line) for line in columns] == [
        [f"device:0000:00:0{slot}.0:0" for slot in (2, 3, 4)],
        ["driver:virtio_net", "driver:virtio_blk", "driver:virtio_rng"],
    ]
    assert not any('"bus"' in line for line in text)
