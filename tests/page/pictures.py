# SPDX-License-Identifier: GPL-2.0-or-later
"""Makes the pictures of docs/images from a golden recording.

    .venv/bin/python -m tests.page.pictures

Needs Chromium, rsvg-convert and pngquant (tools/install-packages page).
"""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

from tests.page.browser import browser
from tests.unit.surgery import GOLDEN
from virtio_trace.cli.main import run

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


def main() -> None:
    """Write all pictures."""
    IMAGES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        drawing, page = Path(folder) / "graph.svg", Path(folder) / "page.html"
        assert run(["graph", str(RECORDING), "--format", "svg", "-o", str(drawing)]) == 0
        assert run(["report", str(RECORDING), "--format", "html", "-o", str(page)]) == 0
        command = ["rsvg-convert", "-o", str(IMAGES / "graph.png"), str(drawing)]
        subprocess.run(command, check=True)
        with browser(Path(folder) / "profile") as found:
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
