# SPDX-License-Identifier: GPL-2.0-or-later
"""Whose events a sweep removes, by real processes; tests/vm/test_sweep.py has a real tracefs."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from virtio_trace.errors import CannotTraceError
from virtio_trace.tracer.ftrace.sweep import group_name, sweep


@pytest.fixture
def process() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as running:
        yield running
        running.kill()


def removed(folder: Path, *groups: str) -> list[str]:
    """The groups that a sweep removes of a kprobe_events that has GROUPS."""
    control = folder / "kprobe_events"
    control.write_text("".join(f"p:{group}/e bus_register\n" for group in groups), "utf-8")
    swept = sweep(folder)
    assert swept.kept == []
    text = control.read_text("utf-8")
    assert [line for line in text.splitlines() if line.startswith("-")] == [
        f"-:{group}/e" for group in groups if group in swept.removed
    ]
    return swept.removed


def test_a_running_recorders_and_other_peoples_stay(
    tmp_path: Path, process: subprocess.Popen[bytes]
) -> None:
    others = ("vt", "virtio_trace", "virtio_trace_x", "virtio_trace_1", "kprobes")
    assert removed(tmp_path, group_name(process.pid), group_name(os.getpid()), *others) == []


def test_a_dead_recorder_that_nobody_has_waited_for_is_dead(
    tmp_path: Path, process: subprocess.Popen[bytes]
) -> None:
    group = group_name(process.pid)
    process.send_signal(signal.SIGKILL)
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert Path(f"/proc/{process.pid}/stat").exists()
    assert removed(tmp_path, group) == [group]


def test_a_pid_that_is_another_processs_keeps_nothing(tmp_path: Path) -> None:
    group = f"virtio_trace_{os.getpid()}_1"
    assert removed(tmp_path, group) == [group]


def test_no_process_has_no_group(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()
    with pytest.raises(CannotTraceError, match="cannot be read"):
        group_name(process.pid)


def test_without_kprobe_events_there_is_nothing_to_sweep(tmp_path: Path) -> None:
    assert sweep(tmp_path).removed == []
