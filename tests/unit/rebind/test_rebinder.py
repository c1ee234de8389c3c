# SPDX-License-Identifier: GPL-2.0-or-later
"""The program that rebinds a device: it runs as root, so it imports only our own files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from virtio_trace.rebind import rebinder

EVIL = "from pathlib import Path\nPath({!r}).touch()\n"


def test_nothing_in_the_current_directory_or_the_environment_is_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran = tmp_path / "ran"
    for name in ("json.py", "signal.py", "virtio_trace/__init__.py", "sitecustomize.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(EVIL.format(str(ran)))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("PYTHONSTARTUP", str(tmp_path / "json.py"))
    with rebinder.start("no-such-device", None) as process:
        out, _ = process.communicate(timeout=60)
    found = json.loads(out)
    assert found.keys() == {"unbind", "bind", "driver"}
    assert (found["unbind"], found["driver"]) == (None, None)
    assert found["bind"] > 0  # the errno of a device that is not there
    assert not ran.exists()
