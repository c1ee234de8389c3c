# SPDX-License-Identifier: GPL-2.0-or-later
"""Why BCC cannot be imported, in virtual environments that are really made."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from virtio_trace.tracer.bpf import bcc_place

SYSTEM = "/usr/bin/python3"
TOP = Path(__file__).resolve().parents[4]


def told(python: Path | str) -> tuple[str, str]:
    """What bcc_place says to the interpreter PYTHON."""
    code = "from virtio_trace.tracer.bpf import bcc_place; print(*bcc_place.here(), sep='|')"
    done = subprocess.run([python, "-c", code], cwd=TOP, capture_output=True, text=True, check=True)
    reason, _, hint = done.stdout.strip().partition("|")
    return reason, hint


def test_an_environment_without_system_site_packages(tmp_path: Path) -> None:
    subprocess.run([SYSTEM, "-m", "venv", "--without-pip", tmp_path], check=True)
    reason, hint = told(tmp_path / "bin/python")
    assert reason == "this virtual environment does not see the system's packages"
    assert hint.endswith(bcc_place.VENV)


def test_an_environment_with_them_is_not_to_blame(tmp_path: Path) -> None:
    options = ("--without-pip", "--system-site-packages")
    subprocess.run([SYSTEM, "-m", "venv", *options, tmp_path], check=True)
    assert told(tmp_path / "bin/python") == told(SYSTEM)


@pytest.mark.parametrize("place", ["lib/python3/dist-packages", "lib64/python3.13/site-packages"])
def test_the_hint_installs_only_what_is_not_there(tmp_path: Path, place: str) -> None:
    usr = str(tmp_path)
    assert bcc_place.why_not(usr, usr, tmp_path) == ("it is not installed", bcc_place.INSTALL)
    other = bcc_place.why_not("/opt/python", "/opt/python", tmp_path)
    assert other[0] == "this Python, of /opt/python, does not look in the system's folders"
    assert other[1] == f"{bcc_place.INSTALL}; {bcc_place.VENV}"
    (tmp_path / place / "bcc").mkdir(parents=True)
    assert bcc_place.why_not("/opt/python", "/opt/python", tmp_path)[1] == bcc_place.VENV
    assert "not for this version of Python" in bcc_place.why_not(usr, usr, tmp_path)[0]
