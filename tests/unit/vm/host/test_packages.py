# SPDX-License-Identifier: GPL-2.0-or-later
"""Packages of the mirror, unpacked for a guest."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from virtio_trace.errors import CannotTraceError
from virtio_trace.vm.host import apt, packages
from virtio_trace.vm.host.programs import Progress, quiet


class LocalSuite(apt.Suite):
    """A suite of one package, which dpkg-deb makes. Until ``fetched`` is fresh, its index names a
    version that the mirror has replaced."""

    def __init__(self, age: float) -> None:
        self.name, self.architecture = "bookworm", None
        self.fetched = age

    @property
    def age(self) -> float:
        return self.fetched

    def refresh(self, progress: Progress, fresh: float = apt.FRESH) -> None:
        if self.fetched >= fresh:
            self.fetched = 0.0

    def show(self, name: str) -> apt.Package | None:
        return apt.Package(name, "2" if self.fetched == 0 else "1", ()) if name == "one" else None

    def download(self, package: apt.Package, into: Path, progress: Progress) -> Path:
        if package.version == "1":
            raise apt.GoneError("404")
        tree = into / "source"
        (tree / "DEBIAN").mkdir(parents=True)
        (tree / "DEBIAN/control").write_text(
            "Package: one\nVersion: 2\nArchitecture: all\nMaintainer: a <a@b.c>\nDescription: x\n"
        )
        (tree / "a").write_text("content")
        deb = into / "one_2_all.deb"
        subprocess.run(["dpkg-deb", "--build", tree, deb], check=True, capture_output=True)
        return deb


def test_a_version_that_the_mirror_has_replaced_is_looked_up_again(tmp_path: Path) -> None:
    suite = LocalSuite(age=3600.0)
    tree = packages.unpack(suite, ["one"], tmp_path, quiet)
    assert [path.name for path in tree.iterdir()] == ["a"]
    assert suite.fetched == 0
    with pytest.raises(apt.GoneError):  # a fresh index is not fetched again
        packages.unpack(LocalSuite(age=30.0), ["one"], tmp_path / "again", quiet)


def test_a_package_that_the_suite_lacks_is_named(tmp_path: Path) -> None:
    with pytest.raises(CannotTraceError, match="bookworm has no two"):
        packages.unpack(LocalSuite(age=0.0), ["two"], tmp_path, quiet)
