# SPDX-License-Identifier: GPL-2.0-or-later
"""A report as one HTML file that loads nothing: markup, style, script, data and the recording.

The page may be opened by someone who does not trust the guest. Every name is escaped where it is
written (page/markup.py). A Content-Security-Policy allows one script and one style by their hashes,
and no address at all.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import tempfile
from collections.abc import Iterator
from importlib import resources
from typing import IO, Any, BinaryIO

from virtio_trace.recording.source import Source
from virtio_trace.render.escape import escape
from virtio_trace.render.page import devices, lanes, steps, summary
from virtio_trace.render.page.collect import Page, collect
from virtio_trace.render.page.markup import Html, script_json, table, tag
from virtio_trace.render.page.rows import FIRST, LAST

__all__ = ["collect", "html"]

_ASSETS = "virtio_trace.report"
_STYLES, _SCRIPTS = ("page.css",), ("events.js", "cells.js", "page.js")
_LARGEST = 24 << 20
"""Bytes of a compressed recording that a page takes in."""
_IN_MEMORY = 1 << 20
_CHUNK = 57 << 10
"""Bytes that become base64 at once; a multiple of 3."""
_MOST_LINES = 2000
"""Lines of the kernel's log among the events."""

_SECTIONS = (
    ("steps", "Steps"), ("time", "Time"), ("devices", "Devices"), ("drivers", "Drivers"),
    ("events", "Events"), ("findings", "Findings"), ("recording", "Recording"),
)  # fmt: skip


def html(page: Page, out: BinaryIO) -> None:
    """Write PAGE, see :func:`collect`. It is ASCII: what is not, is a character reference."""
    for part in _parts(page):
        out.write(part.encode("ascii", "xmlcharrefreplace"))


def _parts(page: Page) -> Iterator[str]:
    style, script = _asset(_STYLES), _asset(_SCRIPTS)
    kernel = page.report["kernel"]
    title = f"{page.result.verdict}: VirtIO on {kernel['release']} {kernel['machine']}"
    packed = _packed(page.recording)
    yield '<!DOCTYPE html>\n<html lang="en">\n<head>\n'
    yield tag("meta", charset="utf-8")
    yield tag("meta", http_equiv="Content-Security-Policy", content=_policy(style, script))
    yield tag("meta", name="viewport", content="width=device-width, initial-scale=1")
    yield tag("meta", name="color-scheme", content="light dark")
    yield f"\n{tag('title', title)}\n<style>{style}</style>\n</head>\n<body>\n"
    yield tag(
        "nav",
        *(tag("a", name, href=f"#{key}") for key, name in _SECTIONS),
        aria_label="Sections",
    )
    yield "\n<main>\n"
    yield summary.verdict(page)
    for key, name in _SECTIONS:
        body = _section(key, page, packed is not None)
        yield "\n" + tag("section", tag("h2", name), body, id=key, aria_label=name)
    yield '\n</main>\n<script type="application/json" id="data">'
    yield script_json(_data(page))
    yield "</script>\n"
    if packed is not None:
        yield '<script type="text/plain" id="packed">'
        yield from _base64(packed)
        yield "</script>\n"
    yield f"<script>{script}</script>\n</body>\n</html>\n"


def _section(key: str, page: Page, has_recording: bool) -> Html:
    if key == "steps":
        said = "A cell opens the step's source and its events."
        panel = tag("div", id="panel", hidden=True, tabindex="-1", role="region", aria_label="Step")
        return Html(tag("p", said, class_="hint") + steps.grids(page) + panel)
    if key == "time":
        return lanes.lanes(page)
    if key == "devices":
        return devices.devices(page)
    if key == "drivers":
        heading = ["driver", "module", "init function", "probe function", "registered"]
        found = summary.drivers(page)
        return table(heading, found) if found else tag("p", "None was seen.")
    if key == "events":
        return _events(page)
    if key == "findings":
        return summary.findings(page)
    return Html(summary.recording(page) + _save(has_recording))


def _events(page: Page) -> Html:
    """The filter, and the place of the rows, which the script makes."""
    rows = page.rows
    parts = [
        tag("noscript", tag("p", "The events need JavaScript; virtio-trace script prints them.")),
        tag(
            "form",
            tag("label", "Filter ", tag("input", type="search", id="filter", size=30)),
            tag("label", "Device ", tag("select", id="device")),
            tag("label", tag("input", type="checkbox", id="bad"), " errors"),
            tag("label", tag("input", type="checkbox", id="log", checked=True), " kernel log"),
            tag("label", tag("input", type="checkbox", id="all"), " not about VirtIO"),
            id="controls",
        ),
    ]
    if rows.dropped:
        said = (
            f"This page has {rows.total - rows.dropped:,} of {rows.total:,} rows: the first "
            f"{FIRST:,}, the last {LAST:,}, and those that a finding names. "
            "The recording has all; virtio-trace script prints them."
        )
        parts.append(tag("p", said, class_="capped"))
    parts += [
        tag("p", id="count", aria_live="polite"),
        tag("div", id="tree", class_="scroll"),
        tag("button", "Show more", type="button", id="more", hidden=True),
    ]
    return Html("".join(parts))


def _save(has_recording: bool) -> Html:
    if not has_recording:
        said = (
            f"The recording is not in this page: compressed, it has more than {_LARGEST >> 20} MiB."
        )
        return tag("p", said, class_="capped")
    said = "It is in this page. virtio-trace reads the saved file."
    return tag("p", tag("button", "Save the recording", type="button", id="save"), f" {said}")


def _data(page: Page) -> dict[str, Any]:
    """What the script needs."""
    log = [[ns, line.level, escape(line.text)] for ns, line in lanes.log_lines(page)[-_MOST_LINES:]]
    return {**steps.data(page), **page.rows.to_json(), "log": log}


def _asset(names: tuple[str, ...]) -> str:
    folder = resources.files(_ASSETS) / "html"
    return "".join((folder / name).read_text(encoding="utf-8") for name in names)


def _policy(style: str, script: str) -> str:
    """Nothing is allowed but this script and this style."""
    return (
        f"default-src 'none'; script-src '{_hash(script)}'; style-src '{_hash(style)}'; "
        "base-uri 'none'; form-action 'none'"
    )


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def _packed(recording: Source) -> IO[bytes] | None:
    """The recording, compressed; None if it is too large for a page."""
    file: IO[bytes] = tempfile.SpooledTemporaryFile(_IN_MEMORY)  # noqa: SIM115 - closed with the page
    with gzip.GzipFile("", "wb", 9, file, mtime=0) as packer:
        for chunk in recording.raw():
            packer.write(chunk)
            if file.tell() > _LARGEST:
                return None
    return file if file.tell() <= _LARGEST else None


def _base64(file: IO[bytes]) -> Iterator[str]:
    file.seek(0)
    while chunk := file.read(_CHUNK):
        yield base64.b64encode(chunk).decode("ascii")
