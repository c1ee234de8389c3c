# SPDX-License-Identifier: GPL-2.0-or-later
"""Counts what a guest executes until its console has printed a text, however QEMU is started.

A program in front of QEMU in PATH adds a plugin (counting.c) to QEMU's command line, -icount, and a
file that has the console's text at once. So what boots the guest need not know of it. With -icount
the guest's clock counts instructions too: a busy host does not cause more timer interrupts.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from virtio_trace.vm.host.programs import find

_VERSIONS = range(1, 10)
"""Of the plugin interface: a QEMU accepts one or a few."""

_ICOUNT = ("-icount", "shift=1,sleep=off")

_WRAPPER = """#!{python}
import os, sys
folder = {folder!r}
words = [
    f"{{word}},logfile={{folder}}/console" if word.startswith("socket,id=console,") else word
    for word in sys.argv[1:]
]
with open(f"{{folder}}/initrd-size", "w") as file:
    file.write(str(os.stat(words[words.index("-initrd") + 1]).st_size))
os.execv({qemu!r}, [{qemu!r}, *words, *{more!r}])
"""


@dataclass(frozen=True, slots=True)
class Counted:
    """``instructions`` until the text, and the bytes of the guest's whole initrd."""

    instructions: int
    initrd: int


class Counter:
    """Counts the QEMU that ``path`` starts, until TEXT, in FOLDER. ``path`` is for the environment.

    Raises SystemExit where no plugin can be built, or QEMU takes none.
    """

    def __init__(self, program: str, text: str, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(exist_ok=True)
        self._console = folder / "console"
        self._out = folder / "count"
        plugin = _plugin(find(program), folder)
        arguments = f"file={plugin},console={self._console},text={text},out={self._out}"
        wrapper = folder / "bin" / program
        wrapper.parent.mkdir(exist_ok=True)
        wrapper.write_text(
            _WRAPPER.format(
                python=sys.executable,
                folder=str(folder),
                qemu=find(program),
                more=(*_ICOUNT, "-plugin", arguments),
            )
        )
        wrapper.chmod(0o755)
        self.path = f"{wrapper.parent}{os.pathsep}{os.environ['PATH']}"

    def reset(self) -> None:
        """Forgets the last boot."""
        self._console.unlink(missing_ok=True)
        self._out.unlink(missing_ok=True)

    @property
    def done(self) -> bool:
        """Whether the text has been printed."""
        return self._out.exists() and self._out.read_text().endswith("\n")

    def result(self) -> Counted:
        """Raises SystemExit if the text was not printed."""
        if not self.done:
            text = self._console.read_bytes() if self._console.exists() else b""
            sys.exit(f"the guest did not get there:\n{text[-4000:].decode(errors='replace')}")
        size = int((self._folder / "initrd-size").read_text())
        return Counted(int(self._out.read_text()), size)

    def console(self) -> str:
        """What the guest has printed."""
        return self._console.read_text("utf-8", errors="replace").replace("\r", "")


def _plugin(qemu: str, folder: Path) -> Path:
    """The plugin for the program QEMU, in the first version of the interface that it accepts."""
    source = Path(__file__).with_name("counting.c")
    said = ""
    for version in _VERSIONS:
        plugin = folder / f"counting-{version}.so"
        compiler = ["gcc", "-O2", "-Wall", "-Werror", "-D_GNU_SOURCE", f"-DVERSION={version}"]
        subprocess.run(
            [*compiler, "-shared", "-fPIC", "-fvisibility=hidden", "-o", plugin, source], check=True
        )
        arguments = f"file={plugin},console=/dev/null,text=x,out=/dev/null"
        argv = [qemu, "-machine", "none", "-display", "none", "-plugin", arguments]
        # It ends as soon as it runs: its monitor is at its end.
        done = subprocess.run(
            [*argv, "-monitor", "stdio"],
            input="quit\n",
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode == 0:
            return plugin
        said = f"{shlex.join(argv)}: {done.stderr}"
    sys.exit(f"this QEMU accepts no plugin: {said}")
