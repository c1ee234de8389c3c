# SPDX-License-Identifier: GPL-2.0-or-later
"""The table of renderers: what each command's --format accepts, and the function that writes it.

To add a format, add a row here and a file to render/. A renderer is imported only when its format
is asked for: ``report --format json`` does not wait for tabulate.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

WIDTH, PAINT, VERBOSE = "width", "paint", "verbose"
"""Keyword arguments that a renderer may take: the terminal's columns (None: no terminal), its
colours (render.words.Paint), and whether -v was given."""

ABOUT, ORIGIN, BUILD = "about", "origin", "build"
"""More of them, for ``check``: the recording (report.about.About), and what KCIDB calls its sender
and the kernel."""


@dataclass(frozen=True, slots=True)
class Format:
    """A row of the table.

    ``renderer`` is called with the subject, the stream, and the keywords in ``takes``. The subject
    is what the command has, or what ``prepare`` makes of it. Both name a function, as
    "module:function" in package virtio_trace. The stream takes bytes if ``binary``, else text.
    """

    name: str
    renderer: str
    prepare: str | None = None
    takes: tuple[str, ...] = ()
    binary: bool = False

    def load(self) -> tuple[Callable[..., None], Callable[[Any], Any]]:
        """Import and return the renderer and ``prepare``, the identity where there is none."""
        prepare = _function(self.prepare) if self.prepare else lambda subject: subject
        return _function(self.renderer), prepare


_SUMMARY = "report.summary:summary"
_TERMINAL = (WIDTH, PAINT)

FORMATS: dict[str, tuple[Format, ...]] = {
    "check": (
        Format("text", "render.text:text", takes=(*_TERMINAL, VERBOSE)),
        Format("json", "render.json:check"),
        Format("junit", "render.junit:junit", takes=(ABOUT,)),
        Format("ktap", "render.ktap:ktap", takes=(ABOUT,)),
        Format("markdown", "render.markdown:markdown", takes=(ABOUT,)),
        Format("github", "render.github:github"),
        Format("kcidb", "render.kcidb:kcidb", takes=(ABOUT, ORIGIN, BUILD)),
    ),
    "diff": (
        Format("text", "render.diff:text", takes=_TERMINAL),
        Format("json", "render.diff:json_document"),
        Format("markdown", "render.diff:markdown"),
    ),
    "fleet sql": (
        Format("table", "render.fleet_answer:table", takes=_TERMINAL),
        Format("csv", "render.fleet_answer:csv"),
        Format("json", "render.fleet_answer:json_lines"),
    ),
    "fleet summary": (
        Format("text", "render.fleet_summary:text", takes=_TERMINAL),
        Format("json", "render.json:report"),
    ),
    "graph": (
        Format("dot", "render.dot:dot", prepare=_SUMMARY),
        Format("svg", "render.svg:svg", prepare=_SUMMARY, binary=True),
        Format("png", "render.png:png", prepare=_SUMMARY, binary=True),
    ),
    "inspect": (
        Format("table", "render.inspection:inspection", takes=_TERMINAL),
        Format("json", "render.json:inspection"),
    ),
    "report": (
        Format(
            "table",
            "render.table:show",
            prepare="render.table:collect",
            takes=(*_TERMINAL, VERBOSE),
        ),
        Format("json", "render.json:show", prepare="render.json:collect"),
        Format("html", "render.html:html", prepare="render.html:collect", binary=True),
        Format("perfetto", "render.perfetto:perfetto", prepare="render.perfetto:collect"),
        Format("otlp", "render.otlp:otlp", prepare="render.otlp:collect"),
    ),
    "script": (
        Format("text", "render.script:text", takes=(*_TERMINAL, VERBOSE)),
        Format("json", "render.script:json_lines"),
    ),
}
"""By command, the default format first.

The subject is a check.findings.Result for check, a report.diff.model.Diff for diff, a
fleet.sql.Answer for fleet sql, the JSON of a summary for fleet summary, a recording.source.Source
for graph and report, the JSON of an Inspection for inspect, a report.selection.Selection for
script.
"""


def names(command: str) -> tuple[str, ...]:
    """What --format of COMMAND accepts, the default first."""
    return tuple(row.name for row in FORMATS[command])


def find(command: str, name: str) -> Format:
    """The row for format NAME of COMMAND. Raises StopIteration if there is none."""
    return next(row for row in FORMATS[command] if row.name == name)


def _function(path: str) -> Any:
    module, name = path.split(":")
    return getattr(importlib.import_module(f"virtio_trace.{module}"), name)
