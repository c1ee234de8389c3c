# SPDX-License-Identifier: GPL-2.0-or-later
"""Readers and validators of others that no package installs, fetched once into the cache.

They stay out of the repository: Jenkins' schema comes in pytest's source, the kernel's KUnit parser
in Debian's package of the kernel's source.
"""

from __future__ import annotations

import importlib
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from virtio_trace.vm.host import apt, cache
from virtio_trace.vm.host.programs import quiet

_PYTEST = "pytest==8.4.2"
_SCHEMA = "testing/example_scripts/junit-10.xsd"
_SOURCE = "linux-source-6.1"
_KUNIT = f"{_SOURCE}/tools/testing/kunit"


def _cached(name: str, make: Callable[[Path], None]) -> Path:
    """The folder NAME in the cache, which MAKE fills if it is not there."""
    folder = cache.folder(cache.root() / "oracles") / name
    with cache.lock("oracles", quiet):
        if not folder.is_dir():
            partial = folder.with_name(f"{name}.partial")
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir()
            make(partial)
            partial.rename(folder)
    return folder


@pytest.fixture(scope="session")
def junit_schema(fetch: Callable[..., Any]) -> Path:
    """junit-10.xsd of Jenkins' xUnit plugin."""

    def make(folder: Path) -> None:
        command = [
            sys.executable,
            "-m",
            "pip",
            "download",
            "-q",
            "--no-deps",
            "--no-binary",
            ":all:",
        ]
        subprocess.run([*command, "-d", folder, _PYTEST], check=True)
        (archive,) = folder.glob("*.tar.gz")
        with tarfile.open(archive) as files:
            (member,) = (name for name in files.getnames() if name.endswith(_SCHEMA))
            content = files.extractfile(member)
            assert content is not None
            (folder / "junit-10.xsd").write_bytes(content.read())
        archive.unlink()

    return _cached("junit", make) / "junit-10.xsd"


@pytest.fixture(scope="session")
def kunit(fetch: Callable[..., Any]) -> Iterator[ModuleType]:
    """tools/testing/kunit/kunit_parser.py of Linux 6.1."""

    def make(folder: Path) -> None:
        suite = apt.Suite("bookworm")
        suite.refresh(quiet)
        package = suite.show(_SOURCE)
        assert package is not None
        deb = suite.download(package, folder, quiet)
        script = (
            f'dpkg --fsys-tarfile "$1" | tar -xO ./usr/src/{_SOURCE}.tar.xz'
            f' | tar -xJ -C "$2" --strip-components=4 {_KUNIT}'
        )
        subprocess.run(["bash", "-ec", script, "bash", deb, folder], check=True)
        deb.unlink()

    folder = str(_cached("kunit", make))
    sys.path.insert(0, folder)
    yield importlib.import_module("kunit_parser")
    sys.path.remove(folder)
