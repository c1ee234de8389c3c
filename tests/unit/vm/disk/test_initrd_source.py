# SPDX-License-Identifier: GPL-2.0-or-later
"""boot --kernel --initrd: the plan has the modules of the initrd while it is needed."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.vm.disk.initrds import KEPT, RELEASE, archive, compressed, modules
from tests.unit.vm.disk.test_extract import vmlinuz
from virtio_trace.cli.boot.source import Source
from virtio_trace.cli.support.progress import ProgressBar
from virtio_trace.vm.plan import Settings


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def source(tmp_path: Path, initrd: bytes, folder: str | None = None) -> Source:
    """The options for a kernel and INITRD."""
    (tmp_path / "vmlinuz").write_bytes(vmlinuz(RELEASE))
    (tmp_path / "initrd").write_bytes(initrd)
    return Source(str(tmp_path / "vmlinuz"), folder, None, str(tmp_path / "initrd"), None)


def test_the_modules_are_those_of_the_initrd(tmp_path: Path) -> None:
    initrd = compressed(archive(tmp_path / "a", modules()), "gzip")
    with source(tmp_path, initrd).plan(Settings(), None, ProgressBar()) as plan:
        folder = plan.modules
        assert folder is not None
        assert folder.name == RELEASE
        files = {path for path in folder.rglob("*") if path.is_file()}
        assert {str(path.relative_to(folder)) for path in files} == set(KEPT)
    assert not folder.exists()


def test_modules_that_are_named_are_taken(tmp_path: Path) -> None:
    named = source(tmp_path, b"not read", "/named")
    with named.plan(Settings(), None, ProgressBar()) as plan:
        assert plan.modules == Path("/named")


def test_an_initrd_without_modules_is_booted_and_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with source(tmp_path, b"junk").plan(Settings(), None, ProgressBar()) as plan:
        assert plan.modules is None
    said = capsys.readouterr().err
    assert "initrd has unknown data at byte 0" in said
    assert f"initrd has no modules of {RELEASE}" in said
