# SPDX-License-Identifier: GPL-2.0-or-later
"""The graph: an edge for each pair, failures marked, DOT that no name can break."""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import Any

import pytest

from tests.unit.surgery import GOLDEN, at, change, dump, golden
from virtio_trace.errors import CannotTraceError
from virtio_trace.graph import builder
from virtio_trace.recording import reader
from virtio_trace.render.dot import dot
from virtio_trace.render.svg import svg
from virtio_trace.report import summary as report

NAMES = [path.stem for path in sorted(GOLDEN.glob("*.vtr"))]
STRING = r'"(?:[^"\\]|\\["\\n])*"'
STATEMENT = re.compile(
    rf"  (?:{STRING}|\w+)(?: -> {STRING})? \[(?:\w+=(?:{STRING}|[\w.]+)(?:, )?)+\];"
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
    assert len(drawn(found)) < 40
    assert any(
        "before it" in line
        for line in drawn(
            {**found, "devices": [{**d, "state": "removed"} for d in found["devices"]]}
        )
    )


def test_the_same_report_gives_the_same_text() -> None:
    assert drawn(summary(golden("debian-6.1"))) == drawn(summary(golden("debian-6.1")))


def test_svg_without_graphviz(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(CannotTraceError, match="graphviz is not installed") as caught:
        svg(summary(golden("debian-6.1")), io.BytesIO())
    assert "apt install graphviz" in caught.value.hint


def test_svg_is_what_graphviz_draws(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program = tmp_path / "dot"
    program.write_text('#!/bin/sh\n[ "$1" = -Tsvg ] && echo "<svg>" && exec /bin/cat\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    out = io.BytesIO()
    found = summary(golden("debian-6.1"))
    svg(found, out)
    assert out.getvalue().decode().splitlines() == ["<svg>", *drawn(found)]


def test_svg_when_graphviz_fails(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program = tmp_path / "dot"
    program.write_text("#!/bin/sh\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(CannotTraceError, match="graphviz failed"):
        svg(summary(golden("debian-6.1")), io.BytesIO())
