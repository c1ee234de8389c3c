# SPDX-License-Identifier: GPL-2.0-or-later
"""What a guest boots: our package, the kernel's modules and scripts, in one file."""

from __future__ import annotations

import marshal
import os
import subprocess
from pathlib import Path
from types import CodeType

import pytest

from virtio_trace.errors import BadInputError, CannotTraceError
from virtio_trace.kernel.files.machine import X86_64
from virtio_trace.vm.plan import Plan
from virtio_trace.vm.root import appliance, payload
from virtio_trace.vm.root.initrd import initrd


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def test_what_fails_while_the_guest_runs_is_not_blamed_on_its_root(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "root").write_bytes(b"root")
    monkeypatch.setattr(payload, "write", lambda out, *_: out.write(b"more"))
    plan = Plan(tmp_path / "k", tmp_path, X86_64)
    with initrd(tmp_path / "root", plan) as whole:
        assert os.pread(whole.fileno(), 9, 0) == b"rootmore"
    with pytest.raises(BrokenPipeError), initrd(tmp_path / "root", plan):
        raise BrokenPipeError
    monkeypatch.setattr(payload, "write", lambda *_: Path("/dev/full").write_text("x"))
    with (
        pytest.raises(CannotTraceError, match="cannot write the guest's root"),
        initrd(tmp_path / "root", plan),
    ):
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


def test_byte_code_is_what_this_python_reads() -> None:
    code = marshal.loads(payload.byte_code(b"x = 6 * 7\n", "/x.py")[16:])
    assert isinstance(code, CodeType)
    namespace: dict[str, object] = {}
    exec(code, namespace)
    assert namespace["x"] == 42
    assert payload.byte_code(b"def", "/x.py") == b""


def test_the_guests_scripts_are_in_the_package() -> None:
    for name in ("init", "drive"):
        path = payload.PACKAGE / "vm" / "guest" / name
        subprocess.run(["sh", "-n", str(path)], check=True)


def test_the_guest_can_read_compressed_modules() -> None:
    """Its Python can read xz and gzip; .ko.zst needs the program zstd."""
    assert "zstd" in appliance.PACKAGES
    assert appliance.wanted("usr/bin/zstd")
