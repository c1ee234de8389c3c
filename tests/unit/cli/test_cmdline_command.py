# SPDX-License-Identifier: GPL-2.0-or-later
"""virtio-trace cmdline, and the parameters that boot adds: what fits, and which warnings come."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from virtio_trace.cli.main import run
from virtio_trace.cli.support.boot_parameters import boot_line
from virtio_trace.tracer.ftrace.cmdline import CMDLINE_MAX
from virtio_trace.tracer.points import offline
from virtio_trace.vm.host import debian
from virtio_trace.vm.plan import Plan, Settings


@pytest.fixture(scope="module")
def kernel(fetch: Callable[..., debian.KernelPackage]) -> debian.KernelPackage:
    return fetch("linux-image-6.12-cloud-amd64/bookworm")


_read = functools.cache(offline.read)


@pytest.fixture(autouse=True)
def each_kernel_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(offline, "read", _read)


@pytest.fixture(scope="module")
def modular(fetch: Callable[..., debian.KernelPackage]) -> debian.KernelPackage:
    return fetch("linux-image-cloud-amd64/bookworm")


def lines(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    status = run(["cmdline", *arguments])
    out, err = capsys.readouterr()
    return status, out, err


def test_one_line_and_a_warning_of_what_does_not_fit(
    kernel: debian.KernelPackage, capsys: pytest.CaptureFixture[str]
) -> None:
    status, out, err = lines(capsys, "--kernel", str(kernel.vmlinuz), "--room", "300")
    assert status == 0
    assert out.count("\n") == 1 and len(out) <= 2047 - 300
    assert re.fullmatch(r"trace_clock=mono trace_event=\S+ kprobe_event=\S+\n", out)
    assert "virtnet_probe" in out and "nsm_device_probe" not in out
    assert "not recorded of its boot: " in err and "the probe function of nsm" in err
    assert f"for {kernel.release}" in err
    status, same, _err = lines(capsys, "--modules", str(kernel.modules), "--room", "300")
    assert (status, same) == (0, out)


def test_a_driver_that_is_preferred(
    kernel: debian.KernelPackage, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ("--kernel", str(kernel.vmlinuz), "--driver", "virtio_input", "--room", "900")
    _status, out, _err = lines(capsys, *arguments)
    assert "virtinput_probe" in out and "virtnet_probe" not in out


def test_for_grub(kernel: debian.KernelPackage, capsys: pytest.CaptureFixture[str]) -> None:
    _status, out, _err = lines(capsys, "--kernel", str(kernel.vmlinuz), "--format", "grub")
    assert out.startswith("GRUB_CMDLINE_LINUX=\"$GRUB_CMDLINE_LINUX 'trace_clock=mono' ")
    assert not re.search(r"[^\\]\$retval", out)


def test_no_room(kernel: debian.KernelPackage, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = lines(capsys, "--kernel", str(kernel.vmlinuz), "--room", "2040")
    assert (status, out) == (2, "")
    assert "--room" in err.splitlines()[-1]


def test_files_that_are_not_a_kernel(
    kernel: debian.KernelPackage,
    modular: debian.KernelPackage,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "vmlinuz").write_bytes(b"no kernel")
    (tmp_path / "1.2.3" / "kernel").mkdir(parents=True)
    image, tree = str(tmp_path / "vmlinuz"), str(tmp_path / "1.2.3")
    assert lines(capsys, "--kernel", image)[0] == 5
    assert lines(capsys, "--kernel", image, "--modules", str(kernel.modules))[0] == 5
    assert lines(capsys, "--modules", tree)[0] == 2
    alone = tmp_path / "alone"
    alone.symlink_to(kernel.vmlinuz)
    assert lines(capsys, "--kernel", str(alone))[0] == 2
    two = ("--kernel", str(kernel.vmlinuz), "--modules", str(modular.modules))
    status, _out, err = lines(capsys, *two)
    assert status == 5 and kernel.release in err and modular.release in err


@pytest.mark.parametrize("size", [0, 40, 1000, 1700, 1890, 1919])
def test_boot_never_makes_a_line_too_long(kernel: debian.KernelPackage, size: int) -> None:
    """What QEMU gets, with the first process that is to be the recorder."""
    plan = Plan.of(kernel.vmlinuz, kernel.modules, Settings(append="a" * size))
    found = boot_line(plan, _read(kernel.vmlinuz, kernel.modules))
    assert found is not None
    append = f"{plan.settings.append} {found.text}".strip()
    line = replace(plan, settings=replace(plan.settings, append=append))
    whole = line.qemu_config("tcg", 0).cmdline
    assert len(whole) <= CMDLINE_MAX
    assert ("kprobe_event=" in whole) == (size < 1800)


def test_boot_leaves_the_users_own_events_alone(
    kernel: debian.KernelPackage, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = Settings(append="quiet kprobe_event=p:a/b,vfs_read")
    plan = Plan.of(kernel.vmlinuz, kernel.modules, settings)
    assert boot_line(plan, _read(kernel.vmlinuz, kernel.modules)) is None
    assert "built-in code is not recorded" in capsys.readouterr().err


def test_a_kernel_with_virtio_in_modules_needs_nothing(modular: debian.KernelPackage) -> None:
    plan = Plan.of(modular.vmlinuz, modular.modules, Settings(append="quiet"))
    assert boot_line(plan, _read(modular.vmlinuz, modular.modules)) is None
