# SPDX-License-Identifier: GPL-2.0-or-later
"""python3 -m tools.completions FOLDER: writes click's completions for bash, zsh and fish.

The files have the names under which each shell loads them by itself.
"""

from __future__ import annotations

import sys
from pathlib import Path

from click.shell_completion import BashComplete, FishComplete, ShellComplete, ZshComplete

from virtio_trace.cli.main import cli

NAME = "virtio-trace"
VARIABLE = "_VIRTIO_TRACE_COMPLETE"
"""What click itself makes of NAME."""


class Bash(BashComplete):
    """Does not ask the bash of the machine on which a package is built for its version."""

    @staticmethod
    def _check_version() -> None:
        pass


FILES: dict[str, type[ShellComplete]] = {
    f"bash/{NAME}": Bash,
    f"zsh/_{NAME}": ZshComplete,
    f"fish/{NAME}.fish": FishComplete,
}


def main(folder: Path) -> None:
    """Write the files into FOLDER."""
    for name, shell in FILES.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(shell(cli, {}, NAME, VARIABLE).source().strip("\n") + "\n", "utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
