# SPDX-License-Identifier: GPL-2.0-or-later
"""A QEMU, played by a script, that aborts after or before the recording is complete."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from pathlib import Path

import pytest

from virtio_trace.cli.boot.ending import conclude
from virtio_trace.errors import IncompleteError
from virtio_trace.kernel.files.machine import X86_64
from virtio_trace.vm import boot
from virtio_trace.vm.boot import Listener
from virtio_trace.vm.outcome import Outcome
from virtio_trace.vm.plan import Plan, Settings
from virtio_trace.vm.qemu.process import QemuConfig
from virtio_trace.vm.root.agentless import AgentlessSetup

QEMU = """#!{python}
import json, os, re, sys
words = " ".join(sys.argv)
fd = {{name: int(re.search(f"id={{name}},fd=([0-9]+)", words)[1])
      for name in ("console", "events", "vt-monitor")}}
os.write(fd["console"], b"Linux version x\\n")
os.write(fd["events"], {header})
if {complete}:
    os.write(fd["events"], {trailer})
    os.write(fd["vt-monitor"], b'{{"QMP": {{}}}}\\n')
    while b"query-version" not in os.read(fd["vt-monitor"], 4096):
        os.write(fd["vt-monitor"], b'{{"return": {{}}}}\\n')
sys.stderr.write("qapi-visit-core.c:52: Assertion failed.\\n")
sys.stderr.flush()
os.abort()
"""


def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, complete: bool) -> tuple[Outcome, Plan]:
    fake = tmp_path / X86_64.program
    header, trailer = b'{"schema": "x"}\n', b'{"kind":"trailer","events":0,"lost":0}\n'
    fake.write_text(
        QEMU.format(python=sys.executable, complete=complete, header=header, trailer=trailer)
    )
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    setup = AgentlessSetup("", lambda sink: sink)
    plan = Plan(tmp_path / "k", tmp_path, X86_64, Settings(timeout=60), agentless=setup)
    lines: list[bytes] = []
    config = QemuConfig(plan.vmlinuz, "", "tcg")
    with tempfile.TemporaryFile() as initrd:
        outcome = boot._Attempt(config, plan, Listener(lines.append), None, None).run(
            initrd.fileno()
        )
    assert json.loads(lines[0]) == {"schema": "x"}
    assert (len(lines) == 2) == complete
    return outcome, plan


def test_a_qemu_that_dies_while_it_is_asked_is_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    outcome, plan = run(tmp_path, monkeypatch, complete=True)
    assert (outcome.end, outcome.recorder, outcome.status) == ("done", None, -6)
    assert conclude(outcome, plan) is None
    said = capsys.readouterr().err
    assert "warning: QEMU failed (status -6)" in said
    assert "the recording was complete" in said
    assert "  | qapi-visit-core.c:52: Assertion failed." in said


def test_a_qemu_that_dies_before_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    outcome, plan = run(tmp_path, monkeypatch, complete=False)
    assert (outcome.end, outcome.status) == ("died", -6)
    assert isinstance(conclude(outcome, plan), IncompleteError)
    said = capsys.readouterr().err
    assert "  | Linux version x" in said
    assert "  | qapi-visit-core.c:52: Assertion failed." in said
