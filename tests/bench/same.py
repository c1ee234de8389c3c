# SPDX-License-Identifier: GPL-2.0-or-later
"""Boots one image many times and compares every recording with the first: nothing may differ.

    .venv/bin/python -m tests.bench.same -o DIR [--boots 20] [-- BOOT OPTIONS ...]

DIR keeps the recordings; those that are there are not made again. Ends with 1 if two boots differ.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

_COMMAND = (sys.executable, "-m", "virtio_trace")
_IMAGE = ["--debian", "linux-image-cloud-amd64/bookworm"]


def main() -> int:
    """Boot and compare; prints a line for each recording."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="DIR")
    parser.add_argument("--boots", type=int, default=20, metavar="N")
    parser.add_argument("options", nargs="*", help="what to boot, as boot takes it")
    asked = parser.parse_args()
    asked.output.mkdir(parents=True, exist_ok=True)
    files = [asked.output / f"{number:02}.vtr" for number in range(1, asked.boots + 1)]
    for file in files:
        if not file.exists():
            _boot(file, asked.options or _IMAGE)
    others = [file for file in files[1:] if not _is_same(files[0], file)]
    print(f"{len(files)} boots, {len(others)} differ from the first")
    return 1 if others else 0


def _boot(file: Path, options: list[str]) -> None:
    """A boot that the host ended, or that was cut, leaves no recording behind."""
    made = file.with_suffix(".part")
    line = (*_COMMAND, "boot", "-q", "-o", str(made), *options)
    done = subprocess.run(line, check=False, capture_output=True, text=True)
    if done.returncode not in (0, 1):
        sys.exit(f"{file}: boot ended with {done.returncode}: {done.stderr[-2000:]}")
    made.replace(file)


def _is_same(first: Path, file: Path) -> bool:
    done = subprocess.run(
        (*_COMMAND, "diff", str(first), str(file)), check=False, capture_output=True, text=True
    )
    print(f"{file.name}: {done.stdout.splitlines()[0] if done.returncode == 0 else done.stdout}")
    return done.returncode == 0


if __name__ == "__main__":
    sys.exit(main())
