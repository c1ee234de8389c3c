# SPDX-License-Identifier: GPL-2.0-or-later
"""The wheel in a bare root, in the three ways in which docs/install.md installs it."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from tests.packages.roots import Root

_NEEDED = ("python3-venv", "pipx", "python3-click", "python3-pyelftools", "python3-tabulate")
_FETCHED = ("click", "pyelftools", "tabulate", "pip", "setuptools", "wheel")
"""What an environment of its own needs; pipx needs the last three for its shared folder."""


def fetch(folder: Path) -> None:
    """The wheels of _FETCHED, by pip, from where this machine's pip gets them."""
    command = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "-q",
        "--only-binary=:all:",
        "-d",
        str(folder),
    ]
    subprocess.run([*command, *_FETCHED], check=True, stderr=subprocess.DEVNULL)


def check(root: Root, wheel: Path, fetched: Path) -> None:
    """Install WHEEL; FETCHED has the wheels that it depends on."""
    name = root.put(wheel)
    shutil.copytree(fetched, root.folder / "tmp/wheels")
    root.install(*_NEEDED)
    root.run("python3", "-m", "venv", "--system-site-packages", "/opt/shared")
    # All dependencies are the distribution's packages.
    root.run("/opt/shared/bin/pip", "install", "-q", "--no-index", name)
    _works(root, "/opt/shared/bin/virtio-trace")

    local = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": "/tmp/wheels"}
    root.run("pipx", "install", "--system-site-packages", name, env=local)
    _works(root, "/root/.local/bin/virtio-trace")
    root.run("pipx", "uninstall", "virtio-trace", env=local)

    root.run("python3", "-m", "venv", "/opt/alone")
    root.run("/opt/alone/bin/pip", "install", "-q", name, env=local)
    _works(root, "/opt/alone/bin/virtio-trace")
    _without_programs(root)


def _works(root: Root, command: str) -> None:
    recording = "/tmp/debian-6.1.vtr"
    root.put(Path("tests/golden/debian-6.1.vtr"))
    assert "CONFORMS (profile linux)" in root.run(command, "check", recording)
    said = root.run(command, "doctor", status=3)
    assert "  yes  compiled programs, or BCC to compile them\n" in said, said


def _without_programs(root: Root) -> None:
    """Without its bytecode, and without BCC: doctor says which is missing, and why."""
    for place, why in (
        ("alone", "this virtual environment does not see the system's packages"),
        ("shared", "it is not installed"),
    ):
        (programs,) = (root.folder / f"opt/{place}/lib").glob("python3.*/site-packages/*/bytecode")
        shutil.rmtree(programs)
        said = root.run(f"/opt/{place}/bin/virtio-trace", "doctor", status=3)
        (line,) = [line for line in said.splitlines() if "  NO   compiled programs" in line]
        assert "neither the package nor the cache has it" in line, line
        assert f"BCC cannot be imported by /opt/{place}/bin/python" in line, line
        assert why in line, line
    root.install("python3-bpfcc")
    _works(root, "/opt/shared/bin/virtio-trace")
    said = root.run("/opt/alone/bin/virtio-trace", "doctor", status=3)
    assert "this virtual environment does not see" in said, said
    assert "apt install" not in said.partition("does not see")[2].splitlines()[1], said
