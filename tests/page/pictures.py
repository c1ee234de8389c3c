# SPDX-License-Identifier: GPL-2.0-or-later
"""Makes the pictures of docs/images from golden recordings.

    .venv/bin/python -m tests.page.pictures

Needs Chromium, rsvg-convert and pngquant (tools/install-packages page).
"""

from __future__ import annotations

import subprocess
import tempfile
from html import escape
from pathlib import Path

from tests.page.browser import browser
from tests.unit.surgery import GOLDEN
from virtio_trace.cli.main import run
from virtio_trace.recording import reader
from virtio_trace.render.concern import Concern
from virtio_trace.render.lines import Lines

IMAGES = Path(__file__).resolve().parent.parent.parent / "docs" / "images"
RECORDING = GOLDEN / "debian-6.1-failures.vtr"
LARGEST = 150_000
"""Bytes of a picture in docs/."""

_VIEWS = (
    ("page-light", False, "h1"),
    ("page-device", False, "#device-0000_3a00_3a05_2e0"),
    ("page-dark", True, "#time"),
    ("page-events", True, "#events"),
)


_COLUMNS, _ROWS = 100, 38
_TERMINAL = """<!doctype html><meta charset="utf-8"><style>
body { margin: 0; background: #14171b; color: #d7dade; }
pre { margin: 0; padding: 12px 14px; font: 13px/1.35 "DejaVu Sans Mono", monospace; }
.good { color: #81c995; } .bad { color: #ff9b95; font-weight: bold; } .unsure { color: #fbc55b; }
.name { font-weight: bold; } .faint { color: #8d949c; }
</style><pre>"""


def live() -> str:
    """What a terminal shows while the last driver of RECORDING comes, as HTML: the lines that
    record and boot print, and their colours."""
    with RECORDING.open("rb") as file:
        read = reader.read(file, RECORDING.name)

    def paint(text: str, style: str) -> str:
        return f"\x02{style}\x03{text}\x04"

    lines = Lines(_COLUMNS, paint=paint, concern=Concern(read.header.evidence), names=True)
    shown = [line for event in read.events for line in lines.add(event)] + lines.flush()
    rows = "\n".join(shown).split("\n")[-_ROWS:]
    text = escape("\n".join(rows), quote=False)
    spans = text.replace("\x02", '<span class="').replace("\x03", '">').replace("\x04", "</span>")
    return f"{_TERMINAL}{spans}</pre>"


def main() -> None:
    """Write all pictures."""
    IMAGES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        drawing, page = Path(folder) / "graph.svg", Path(folder) / "page.html"
        assert run(["graph", str(RECORDING), "--format", "svg", "-o", str(drawing)]) == 0
        assert run(["report", str(RECORDING), "--format", "html", "-o", str(page)]) == 0
        command = ["rsvg-convert", "-o", str(IMAGES / "graph.png"), str(drawing)]
        subprocess.run(command, check=True)
        terminal = Path(folder) / "live.html"
        terminal.write_text(live(), encoding="utf-8")
        with browser(Path(folder) / "profile") as found:
            found.resize(830, 100)
            found.look()
            found.open(terminal)
            found.screenshot(IMAGES / "live.png", whole=True)
            found.resize(1100, 760)
            for name, dark, place in _VIEWS:
                found.look(dark=dark)
                found.open(page)
                found.value(f"document.querySelector({place!r}).scrollIntoView()")
                found.screenshot(IMAGES / f"{name}.png")
    pictures = sorted(IMAGES.glob("*.png"))
    subprocess.run(["pngquant", "--force", "--ext", ".png", "64", *pictures], check=True)
    for picture in pictures:
        assert picture.stat().st_size <= LARGEST, picture


if __name__ == "__main__":
    main()
