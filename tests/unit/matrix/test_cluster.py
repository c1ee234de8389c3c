# SPDX-License-Identifier: GPL-2.0-or-later
"""A matrix on a Dask cluster: KVM is reserved, and the scheduler's death is said. No guest starts:
the kernel is none. tests/vm/test_matrix_run.py has guests, and a worker that is killed."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from tests.cluster import cluster, results, start, until, worker_pids

pytest.importorskip("distributed")

_SECONDS = 120
_PLAN = """
boots = 4
accel = "kvm"

[kernel.none]
vmlinuz = "vmlinuz"
modules = "modules"

[board.default]
"""


def _folder(folder: Path) -> Path:
    (folder / "modules").mkdir()
    (folder / "vmlinuz").write_bytes(b"no kernel")
    return folder


def test_kvm_is_reserved_and_errors_come_back(tmp_path: Path) -> None:
    folder = _folder(tmp_path)
    with cluster(folder, ((), ("--resources", "KVM=1"))) as found:
        process = start(_PLAN, folder, "--scheduler", found.address)
        out, _ = process.communicate(timeout=_SECONDS)
        kvm = found.workers[1].pid
    assert process.returncode == 4, out
    done = results(folder / "out")
    assert sorted(done) == [f"none/default/{number}" for number in (1, 2, 3, 4)]
    assert {raw["status"] for raw in done.values()} == {"error"}
    assert all("vmlinuz" in raw["why"][0] for raw in done.values())
    assert worker_pids(folder / "out") == {kvm}
    assert out.count("ERROR   none/default/") == 4
    assert (folder / "out/cases/none/default/1/boot.log").read_text("utf-8") != ""


def test_cases_wait_for_kvm_and_a_dead_scheduler_is_said(tmp_path: Path) -> None:
    folder = _folder(tmp_path)
    with cluster(folder) as found:
        process = start(_PLAN, folder, "--scheduler", found.address)
        until((folder / "out/plan.json").exists, process)
        os.kill(found.scheduler.pid, signal.SIGKILL)
        _, stderr = process.communicate(timeout=_SECONDS)
    assert process.returncode == 3, stderr
    assert "virtio-trace: warning: no worker offers KVM" in stderr
    assert "the scheduler is gone" in stderr
    assert "--resume" in stderr
    assert results(folder / "out") == {}
