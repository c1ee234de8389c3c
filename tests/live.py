# SPDX-License-Identifier: GPL-2.0-or-later
"""Keeps a recording that ``record`` makes in a guest: python -m tests.live -o FILE OPTIONS ...

OPTIONS are record's. The guest is Debian's 6.1 with the devices of tests/vm/test_asked.py, all of
them bound when the recorder starts. Exits with record's status.
"""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.vm.guest import Guest, boot
from tests.vm.test_asked import OPTIONS


def keep(path: Path, options: list[str]) -> int:
    """Record in a guest with OPTIONS, and keep the recording as PATH."""
    script = f"""
python3 -m virtio_trace record -q -o /run/live.vtr {shlex.join(options)}
status=$?; at status; echo $status
at recording; cat /run/live.vtr
"""
    with TemporaryDirectory() as folder:
        booted = boot(Guest("6.1", script, OPTIONS, append="", python=True), Path(folder))
    path.write_text("".join(f"{line}\n" for line in booted.sections["recording"]), "ascii")
    return int(booted.sections["status"][0])


if __name__ == "__main__":
    if sys.argv[1:2] != ["-o"] or len(sys.argv) < 3:
        sys.exit(__doc__)
    sys.exit(keep(Path(sys.argv[2]), sys.argv[3:]))
