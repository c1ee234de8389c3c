# SPDX-License-Identifier: GPL-2.0-or-later
"""What a guest of ours boots: the kernel's modules and scripts, in one file."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from virtio_trace.errors import BadInputError, CannotTraceError
from virtio_trace.kernel.files.machine import X86_64
from virtio_trace.vm.plan import Plan
from virtio_trace.vm.root import own, payload
from virtio_trace.vm.root.agentless import AgentlessSetup
from virtio_trace.vm.root.initrd import initrd


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def test_what_fails_while_the_guest_runs_is_not_blamed_on_its_root(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    setup = AgentlessSetup("", lambda sink: sink)
    plan = Plan(tmp_path / "k", tmp_path, X86_64, agentless=setup)
    monkeypatch.setattr(own, "busybox", lambda *_: tmp_path / "busybox")
    monkeypatch.setattr(own, "write", lambda out, *_: out.write(b"root"))
    with initrd(plan) as whole:
        assert os.pread(whole.fileno(), 9, 0) == b"root"
    with pytest.raises(BrokenPipeError), initrd(plan):
        raise BrokenPipeError
    monkeypatch.setattr(own, "write", lambda *_: Path("/dev/full").write_text("x"))
    with pytest.raises(CannotTraceError, match="cannot write the guest's root"), initrd(plan):
        pass


def test_a_module_folder_is_checked(tmp_path: Path) -> None:
    good = tmp_path / "lib/modules/6.1-x"
    (good / "kernel").mkdir(parents=True)
    assert payload.check_modules(good) == good
    for bad in (tmp_path, good / "kernel", tmp_path / "lib", tmp_path / "none"):
        with pytest.raises(BadInputError):
            payload.check_modules(bad)


def test_depmod_writes_nothing_into_the_modules(tmp_path: Path) -> None:
    modules = tmp_path / "lib/modules/6.1-x"
    (modules / "kernel").mkdir(parents=True)
    (modules / "modules.order").write_text("")
    (modules / "modules.builtin").write_text("kernel/drivers/virtio/virtio.ko\n")
    (modules / "modules.dep").write_text("stale\n")
    modules.chmod(0o555)
    before = {path: path.stat().st_mtime_ns for path in modules.rglob("*")}
    made = {path.name: path.read_bytes() for path in payload.index(modules, tmp_path / "scratch")}
    assert {path: path.stat().st_mtime_ns for path in modules.rglob("*")} == before
    assert made["modules.dep"] == b""
    assert "modules.alias" in made
    assert "modules.order" not in made


def test_the_guests_scripts_are_in_the_package() -> None:
    for path in (payload.PACKAGE / "vm" / "guest").iterdir():
        subprocess.run(["sh", "-n", str(path)], check=True)
