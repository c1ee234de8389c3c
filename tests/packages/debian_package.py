# SPDX-License-Identifier: GPL-2.0-or-later
"""The Debian package in a bare root: it is installed, used and purged."""

from __future__ import annotations

import gzip
import os
import re
import subprocess
import sys
from pathlib import Path

import virtio_trace
from tests.packages.roots import Root
from virtio_trace.cli.main import COMMANDS
from virtio_trace.cli.support.topics import TOPICS

TOP = Path(__file__).resolve().parents[2]
EXAMPLES = "/usr/share/doc/virtio-trace/examples"
_COMPLETE = """
. /usr/share/bash-completion/completions/virtio-trace
COMP_WORDS=(virtio-trace $0); COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
_virtio_trace_completion virtio-trace; printf '%s\\n' "${COMPREPLY[@]}"
"""


def check(root: Root, deb: Path) -> None:
    """Install DEB by apt without what it recommends, use it, purge it. Nothing stays."""
    name = root.put(deb)
    root.install(name, "man-db", "fish", "zsh")
    root.run("dpkg", "--purge", "virtio-trace")
    before = root.files()
    root.run("dpkg", "-i", name)
    added = root.files().keys() - before.keys()
    assert len(added) > 300, added
    assert not [path for path in added if "/site-packages/" in path or path.startswith("usr/local")]
    _commands(root)
    _documentation(root)
    _completions(root)
    root.run("dpkg", "--purge", "virtio-trace")
    after = root.files()
    changed = {path for path in before.keys() | after.keys() if before.get(path) != after.get(path)}
    assert not changed, changed
    assert root.run("dpkg", "--verify") == ""


def _commands(root: Root) -> None:
    said = root.run("virtio-trace", "--version")
    assert said == f"virtio-trace, version {virtio_trace.__version__}\n", said
    for command, status in (("check", 0), ("report", 0), ("script", 0)):
        file = f"{EXAMPLES}/debian-6.1.vtr"
        golden = TOP / "tests/golden/debian-6.1.vtr"
        said, expected = (
            root.run("virtio-trace", command, file, status=status),
            _here(command, golden),
        )
        assert said == expected, f"{command}:\n{said}"
    assert "DEVIATES" in root.run(
        "virtio-trace", "check", f"{EXAMPLES}/debian-6.1-failures.vtr", status=1
    )
    root.run("test", "!", "-e", "/usr/lib/python3/dist-packages/bcc")
    # A root has no /sys: nothing can be traced, but the programs are there without BCC.
    said = root.run("virtio-trace", "doctor", status=3)
    assert "  yes  compiled programs, or BCC to compile them\n" in said, said
    said = root.run("virtio-trace", "boot", "--debian", "linux-image-cloud-amd64", status=3)
    assert "apt install kmod qemu-system-x86" in said, said
    assert "Examples:" in root.run("virtio-trace", "help", "record")


def _here(command: str, file: Path) -> str:
    """What the source tree prints, as wide as in the root."""
    argv = [sys.executable, "-m", "virtio_trace", command, str(file)]
    width = {**os.environ, "COLUMNS": "80"}
    return subprocess.run(
        argv, check=True, capture_output=True, text=True, cwd=TOP, env=width
    ).stdout


def _documentation(root: Root) -> None:
    pages = {"virtio-trace": "1"}
    pages |= {f"virtio-trace-{name}": "1" for name in COMMANDS}
    pages |= {f"virtio-trace-{name}": "7" for name in TOPICS}
    for page, section in pages.items():
        path = root.run("man", "-w", page).strip()
        assert path == f"/usr/share/man/man{section}/{page}.{section}.gz", path
        packed = (root.folder / path[1:]).read_bytes()
        assert packed[4:8] == bytes(4), f"{path} has a time stamp: gzip -n"
    text = re.sub(r"\s+", " ", root.run("man", "virtio-trace-record", env={"MANWIDTH": "80"}))
    assert "--rebind DEVICE Unbind and bind this device after arming." in text, text
    assert "GPL-2" in (root.folder / "usr/share/doc/virtio-trace/copyright").read_text("utf-8")
    changes = root.folder / "usr/share/doc/virtio-trace/changelog.gz"
    assert gzip.decompress(changes.read_bytes()).startswith(b"virtio-trace (")
    root.run("test", "-s", "/usr/share/doc/virtio-trace/CHANGELOG.md.gz")


def _completions(root: Root) -> None:
    """Each shell completes with the files that it loads by itself."""
    assert root.run("bash", "-c", _COMPLETE, "rec") == "record\n"
    assert root.run("bash", "-c", _COMPLETE, "record --reb") == "--rebind\n"
    assert root.run("fish", "-c", "complete -C 'virtio-trace rec'").startswith("record")
    assert root.run("fish", "-c", "complete -C 'virtio-trace help exit'").startswith("exit-status")
    zsh = "autoload -Uz compinit; compinit -D -u; print -r -- $_comps[virtio-trace]"
    assert root.run("zsh", "-f", "-c", zsh) == "_virtio-trace\n"
