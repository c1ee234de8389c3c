# SPDX-License-Identifier: GPL-2.0-or-later
"""virtio-trace inspect as a user runs it: its output, exit statuses, unreadable files."""

from __future__ import annotations

import gc
import io
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from virtio_trace.cli import inspect as inspect_command
from virtio_trace.cli import main
from virtio_trace.kernel.drivers import inspect
from virtio_trace.kernel.files import vmlinuz
from virtio_trace.kernel.files.module_tree import ModuleTree
from virtio_trace.kernel.running.host import HostKernel
from virtio_trace.render.inspection import inspection
from virtio_trace.vm.host.debian import KernelPackage

BAD_INPUT, USAGE = 5, 2

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Iterator[Run]:
    """Runs a command in this process: its status, standard output and standard error."""
    interval = sys.getswitchinterval()

    def run(*arguments: object) -> tuple[int, str, str]:
        status = main.run(["inspect", *map(str, arguments)])
        said = capsys.readouterr()
        return status, said.out, said.err

    yield run
    gc.enable()
    sys.setswitchinterval(interval)


@pytest.fixture(scope="session")
def whole(kernel: KernelPackage) -> dict[str, Any]:
    """The inspection of a whole kernel as JSON."""
    return inspect.inspect_tree(ModuleTree(kernel.modules), kernel.vmlinuz).to_json()


@pytest.fixture
def tree(kernel_6_1: KernelPackage, tmp_path: Path) -> Path:
    """A small module tree with its image, which a test may damage."""
    copy = tmp_path / "lib/modules" / kernel_6_1.release
    copy.mkdir(parents=True)
    for file in ModuleTree(kernel_6_1.modules).files.values():
        if "virtio" in file:
            (copy / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(kernel_6_1.modules / file, copy / file)
    (copy / "vmlinuz").symlink_to(kernel_6_1.vmlinuz)
    return copy


@pytest.fixture
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def _file(tree: Path, name: str) -> Path:
    (found,) = tree.rglob(f"{name}.ko*")
    return found


def test_the_json_document(kernel: KernelPackage, run: Run) -> None:
    status, out, err = run(kernel.modules, "--kernel", kernel.vmlinuz, "--format", "json")
    assert (status, err) == (0, "")
    found = json.loads(out)
    assert found["schema"] == "virtio-trace/inspect/1"
    assert found.keys() >= {"transports", "drivers", "calls", "unread"}
    (net,) = (driver for driver in found["drivers"] if driver["name"] == "virtio_net")
    assert net["ids"] == [1] and net["types"] == ["net"]
    assert net["module"] == "virtio_net" and not net["builtin"]
    assert (kernel.modules / net["file"]).is_file()
    assert net["matches"] == net["aliases"] == ["virtio:d00000001v*"]
    assert {"bit": 0, "name": "VIRTIO_NET_F_CSUM"} in net["features"]
    assert {"bit": 27, "name": "VIRTIO_F_ANY_LAYOUT"} in net["features_legacy"]
    assert net["functions"]["probe"] == "virtnet_probe"
    assert net["functions"]["scan"] is None
    (pci,) = (way for way in found["transports"] if way["name"] == "virtio-pci")
    assert (pci["module"], pci["struct"]) == ("virtio_pci", "virtio_pci_driver")
    assert pci["functions"]["probe"] == "virtio_pci_probe"
    assert all(
        call.keys() == {"module", "from", "to", "offset", "argument"} for call in found["calls"]
    )
    assert {(c["from"], c["to"], c["argument"]) for c in found["calls"]} > {
        ("virtio_pci_probe", "register_virtio_device", None),
        ("virtio_pci_driver_init", "__pci_register_driver", "virtio_pci_driver"),
    }
    assert all(call["module"] for call in found["calls"])


@pytest.mark.parametrize("width", [100, 80, 40])
def test_the_table_fits(whole: dict[str, Any], width: int) -> None:
    out = io.StringIO()
    inspection(whole, out, width)
    text = out.getvalue()
    for line in text.splitlines():
        *_, last = line.split("  ")  # after the label; a word that is too long is not broken
        assert len(line) <= width or " " not in last.strip()
    assert all(line == line.rstrip() for line in text.splitlines())
    flat = re.sub(r"\s+", " ", text)
    for driver in whole["drivers"]:
        for function in filter(None, driver["functions"].values()):
            assert function in (flat if width > 40 else flat.replace(" ", ""))
        for feature in driver["features"] if width > 40 else ():
            assert f"{feature['name']} {feature['bit']}" in flat
    assert "virtio_pci_probe" in flat.replace(" ", "")
    assert f"{len(whole['drivers'])} drivers" in flat


def test_names_are_escaped(whole: dict[str, Any]) -> None:
    nasty = json.loads(json.dumps(whole).replace("virtio_rng", "a\\u001b[31m\\u202e\\nb"))
    out = io.StringIO()
    inspection(nasty, out)
    assert "\x1b" not in out.getvalue() and "\u202e" not in out.getvalue()
    assert "a\\x1b[31m\\u202e\\x0ab" in out.getvalue()


def test_a_bad_file_among_many_is_a_warning(tree: Path, run: Run) -> None:
    _file(tree, "virtio_blk").write_bytes(b"\x7fELF\x02\x01")
    os.mkfifo(tree / "kernel/virtio_fifo.ko")
    (tree / "kernel/virtio_gone.ko").symlink_to("/nowhere")
    status, out, err = run(tree, "--format", "json")
    assert status == 0
    found = json.loads(out)
    bad = {f"kernel/drivers/block/{_file(tree, 'virtio_blk').name}", "kernel/virtio_fifo.ko"}
    assert found["unread"].keys() == {*bad, "kernel/virtio_gone.ko"}
    assert len(err.splitlines()) == 3
    for line, (file, reason) in zip(err.splitlines(), found["unread"].items(), strict=True):
        assert line.startswith("virtio-trace: warning: ")
        assert file in line and reason in line
    assert "virtio_blk" not in {d["name"] for d in found["drivers"]}
    assert "virtio_net" in {d["name"] for d in found["drivers"]}


def test_files_by_name(tree: Path, tmp_path: Path, run: Run) -> None:
    bad = tmp_path / "bad.ko"
    bad.write_bytes(b"#!/bin/sh\n")
    net = _file(tree, "virtio_net")
    status, out, err = run(net, bad, "--format", "json")
    assert (status, err) == (0, f"virtio-trace: warning: {bad}: is not an ELF file\n")
    found = json.loads(out)
    assert [d["name"] for d in found["drivers"]] == ["virtio_net"]
    assert found["kernel"]["image"] == str(tree / "vmlinuz")  # found in the same tree
    assert run(bad)[0] == run(bad, tmp_path / "gone.ko")[0] == BAD_INPUT


@pytest.mark.parametrize(
    ("arguments", "status", "says"),
    [
        (["/nowhere"], BAD_INPUT, "/nowhere: No such file"),
        (["/dev/null"], BAD_INPUT, "/dev/null: is not a regular file"),
        (["."], BAD_INPUT, "is not a module tree"),
        ([".", "x.ko"], USAGE, "other files are named"),
        (["--kernel", "/nowhere"], BAD_INPUT, "/nowhere: No such file"),
        (["--kernel", "/bin/ls"], BAD_INPUT, "/bin/ls: is not a kernel image"),
        (["--format", "xml"], USAGE, "xml"),
    ],
)
def test_invalid_arguments(
    run: Run, empty_folder: None, arguments: list[str], status: int, says: str
) -> None:
    got, out, err = run(*arguments)
    assert (got, out) == (status, "")
    assert says in err
    assert "Traceback" not in err


def test_the_default_is_the_running_kernel(
    tree: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = HostKernel(proc=Path("/nowhere"), modules=tree.parent)
    monkeypatch.setitem(here.__dict__, "release", tree.name)
    monkeypatch.setattr(inspect_command, "HostKernel", lambda: here)
    status, out, _err = run()
    assert status == 0
    assert "virtnet_probe" in out
    assert f"kernel {tree.name} x86_64" in out
    shutil.rmtree(tree)
    status, _out, err = run()
    assert (status, str(tree) in err) == (BAD_INPUT, True)


def test_another_kernels_image_is_refused(
    kernel: KernelPackage, kernel_6_1: KernelPackage, run: Run
) -> None:
    net = next(kernel.modules.rglob("virtio_net.ko*"))
    status, _out, err = run(net, "--kernel", kernel_6_1.vmlinuz)
    assert status == (0 if kernel.release == kernel_6_1.release else USAGE)
    assert status == 0 or f"the modules are of {kernel.release}" in err


def test_modules_of_two_kernels_at_once(kernel: KernelPackage, kernel_6_1: KernelPackage) -> None:
    """One has its image in its tree, the other is read without an image."""
    files = [next(k.modules.rglob("virtio_net.ko*")) for k in (kernel, kernel_6_1)]
    found = inspect.inspect_files(list(dict.fromkeys(files)))
    assert found.unread == {}
    assert {d.facts.functions["probe"] for d in found.drivers} == {"virtnet_probe"}
    assert len(found.drivers) == len({k.release for k in (kernel, kernel_6_1)})


def test_without_an_image_drivers_are_the_same(
    kernel: KernelPackage, whole: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The layout is derived from the structs in the modules; the rest is reported as unknown."""
    monkeypatch.setattr(vmlinuz, "find", lambda *_: None)
    found = inspect.inspect_tree(ModuleTree(kernel.modules)).to_json()
    assert found["drivers"] == [d for d in whole["drivers"] if not d["builtin"]]
    assert found["transports"] == []
    assert "laid out by the order of its members" in found["unknown"][0]
    assert found["kernel"]["image"] is None


def test_an_unknown_driver(tree: Path, run: Run) -> None:
    """It is read like any other."""
    data = _file(tree, "virtio-rng").read_bytes()
    acme = data.replace(b"virtrng_", b"acmerng_").replace(b"virtio_rng\0", b"acme_rng__\0")
    path = tree / "acme.ko"
    path.write_bytes(acme)
    status, out, _err = run(path, "--format", "json")
    assert status == 0
    (driver,) = json.loads(out)["drivers"]
    assert driver["functions"]["probe"] == "acmerng_probe"
    assert driver["file"] == str(path)


def test_tree_and_image_find_each_other(kernel: KernelPackage, run: Run) -> None:
    status, out, _err = run("--kernel", kernel.vmlinuz, "--format", "json")
    assert status == 0
    alone = json.loads(out)
    status, out, _err = run(kernel.modules, "--kernel", kernel.vmlinuz, "--format", "json")
    assert (status, json.loads(out)) == (0, alone)
    status, out, _err = run(kernel.modules, "--format", "json")
    plain = json.loads(out)
    assert plain["kernel"]["image"] == str(kernel.vmlinuz)
    assert all(not driver["builtin"] for driver in plain["drivers"])
    if "virtio_pci" in plain["builtin"]:
        assert f"--kernel {kernel.vmlinuz}" in plain["unknown"][0]


def test_zst_and_no_zstd_library(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for file in [*tree.rglob("*.ko")]:
        subprocess.run(["zstd", "-q", "--rm", file], check=True)
    found = inspect.inspect_tree(ModuleTree(tree)).to_json()
    assert len(found["drivers"]) > 8
    monkeypatch.setattr("virtio_trace.kernel.files.zstd.library", lambda: None)
    assert inspect.inspect_tree(ModuleTree(tree)).to_json() == found
