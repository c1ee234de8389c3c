# SPDX-License-Identifier: GPL-2.0-or-later
"""The wheel has the BPF program and the guest's scripts, and they are found once installed."""

from __future__ import annotations

import configparser
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import virtio_trace
from virtio_trace.bpf_source import bpf_folder
from virtio_trace.vm.host.programs import PACKAGES

TOP = Path(__file__).resolve().parents[2]

NEEDS_SETUPTOOLS = pytest.mark.network
"""pip downloads setuptools for each build of a wheel."""


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    # A copy: setuptools leaves a build folder behind, and would use an old one.
    source = folder / "source"
    aside = shutil.ignore_patterns(".*", "build", "*.egg-info", "__pycache__", "*.vtr")
    shutil.copytree(TOP, source, ignore=aside)
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", folder, source], check=True
    )
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "installed")
    return folder / "installed"


def test_a_clone_has_the_bpf_folder_next_to_the_package() -> None:
    assert bpf_folder() == TOP / "bpf"


@NEEDS_SETUPTOOLS
def test_the_wheel_has_everything_for_the_kernel_and_the_guest(installed: Path) -> None:
    for folder, inside in ((TOP / "bpf", "bpf"), (TOP / "virtio_trace/vm/guest", "vm/guest")):
        here = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
        there = installed / "virtio_trace" / inside
        missing = {name for name in here if not (there / name).is_file()}
        assert not {name for name in missing if not name.endswith((".md", ".pyc"))}
    assert (installed / "virtio_trace" / "py.typed").is_file()


@NEEDS_SETUPTOOLS
def test_an_installed_package_finds_its_bpf_folder(installed: Path) -> None:
    code = "from virtio_trace.bpf_source import bpf_folder; print(bpf_folder())"
    out = subprocess.run(
        [sys.executable, "-c", code], env={"PYTHONPATH": str(installed)}, cwd="/",
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    assert Path(out.stdout.strip()) == installed / "virtio_trace" / "bpf"


def test_the_debian_package_has_our_version() -> None:
    first = (TOP / "debian/changelog").read_text("utf-8").splitlines()[0]
    assert first.startswith(f"virtio-trace ({virtio_trace.__version__}) ")


def _field(name: str) -> str:
    """A field of debian/control, one package a line."""
    control = (TOP / "debian/control").read_text("utf-8")
    (found,) = re.findall(rf"^{name}:\n((?: .*\n)+)", control, re.MULTILINE)
    return str(found)


def test_build_dependencies_are_installed_by_one_command() -> None:
    names = set(re.findall(r"^ ([a-z0-9-]+)", _field("Build-Depends"), re.MULTILINE))
    script = (TOP / "tools/install-packages").read_text("utf-8")
    (installed,) = re.findall(r"^deb='([^']+)'", script, re.MULTILINE)
    assert names - {"debhelper-compat"} <= set(installed.split())


def test_the_debian_package_depends_on_what_the_wheel_depends_on() -> None:
    setup = configparser.ConfigParser()
    setup.read(TOP / "setup.cfg")
    wanted = re.findall(r"^([a-z]+) >= (\S+)$", setup["options"]["install_requires"], re.MULTILINE)
    assert len(wanted) == 3
    for name, version in wanted:
        assert f" python3-{name} (>= {version}),\n" in _field("Depends")
    python = setup["options"]["python_requires"].replace(">=", ">= ")
    assert f" python3 ({python}),\n" in _field("Depends")


def test_the_debian_package_suggests_the_programs_that_are_run() -> None:
    essential = {"apt", "dpkg", "util-linux"}
    suggested = set(re.findall(r"[a-z0-9-]+", _field("Suggests")))
    assert set(PACKAGES.values()) - essential <= suggested


def test_every_target_of_the_makefile_is_defined_once() -> None:
    """make takes the last recipe, and only warns."""
    text = (TOP / "Makefile").read_text("utf-8")
    targets = re.findall(r"^([\w-]+):(?!=)", text, re.MULTILINE)
    assert "fuzz" in targets
    assert sorted(targets) == sorted(set(targets))
