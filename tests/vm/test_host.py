# SPDX-License-Identifier: GPL-2.0-or-later
"""``boot``, ``record`` and ``doctor`` on the host: errors are reported, and nothing is left.

Each test has its own cache and its own folder for temporary files, so that leftovers are seen.
"""

from __future__ import annotations

import contextlib
import gzip
import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.vm.guest import COMMAND, KERNELS, run_json
from tests.vm.host import Host, gone, qemu_of, said
from virtio_trace.kernel.files.machine import X86_64
from virtio_trace.tracer.bpf.compile import bytecode
from virtio_trace.vm.host import cache, debian
from virtio_trace.vm.host.programs import find
from virtio_trace.vm.root import guest_python, own
from virtio_trace.vm.root.cpio import Writer


@pytest.fixture
def host(tmp_path: Path) -> Host:
    """A Host whose cache already has what every guest gets: busybox, Python and byte code."""
    kernel = debian.fetch(KERNELS["6.1"])
    fresh = tmp_path / "cache" / "virtio-trace"
    fresh.mkdir(parents=True)
    for part in (own.busybox(X86_64), guest_python.fetch(X86_64)):
        (fresh / part.name).symlink_to(part)
    bytecode("x86_64", cookie=True)
    shutil.copytree(cache.root() / "bytecode", fresh / "bytecode")
    with contextlib.suppress(FileNotFoundError):
        (fresh / "accel.json").write_bytes((cache.root() / "accel.json").read_bytes())
    (tmp_path / "tmp").mkdir()
    places = {"XDG_CACHE_HOME": str(tmp_path / "cache"), "TMPDIR": str(tmp_path / "tmp")}
    source = str(Path(__file__).parent.parent.parent)
    return Host(tmp_path, kernel, {**os.environ, **places, "PYTHONPATH": source})


def test_a_folder_that_is_not_there_is_refused_before_anything_is_done(host: Host) -> None:
    fresh = host.folder / "elsewhere"
    host.environment["XDG_CACHE_HOME"] = str(fresh)
    began = time.monotonic()
    status, out, err = host.run("boot", "--debian", KERNELS["6.1"], "-o", "nowhere/x.vtr")
    assert (status, out) == (2, "")
    assert "nowhere/x.vtr: cannot be written" in err[0]
    assert len(err) == 2
    assert time.monotonic() - began < 10
    assert [path for path in fresh.rglob("*") if path.is_file()] == []


def test_a_closed_standard_output_is_refused_too(host: Host) -> None:
    source = " ".join(host.source)
    done = subprocess.run(
        ["sh", "-c", f'exec "$@" boot {source} -o - >&-', "sh", *COMMAND],
        cwd=host.folder,
        env=host.environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 2), done.stderr
    assert "standard output is closed" in done.stderr
    assert host.left() == []


def test_a_full_disk_ends_the_guest(host: Host) -> None:
    child = host.start("boot", *host.source, "-q", "-o", "/dev/full")
    qemu = qemu_of(child)
    out, err = child.communicate(timeout=120)
    assert (child.returncode, out, len(said(err))) == (4, "", 2), err
    assert "/dev/full: cannot write: No space left on device" in err
    assert gone(qemu, 0)
    assert host.left() == []


def test_a_kernel_that_is_none(host: Host) -> None:
    fake = host.folder / "cache" / "vmlinuz"
    fake.write_text("no kernel\n" * 1000)
    modules = str(host.kernel.modules)
    status, out, err = host.run("boot", "--kernel", str(fake), "--modules", modules)
    assert (status, out, len(err)) == (5, "", 2), err
    assert "is not a kernel image" in err[0]
    assert host.left() == []


def test_a_kernel_that_was_cut(host: Host) -> None:
    """Its head is whole. It is read before anything is started."""
    fake = host.folder / "cache" / "vmlinuz"
    fake.write_bytes(host.kernel.vmlinuz.read_bytes()[: 1 << 20])
    modules = str(host.kernel.modules)
    status, out, err = host.run("boot", "--kernel", str(fake), "--modules", modules)
    assert (status, out, len(err)) == (5, "", 2), err
    assert str(fake) in err[0]
    assert host.left() == []


def test_modules_that_are_none(host: Host) -> None:
    vmlinuz = str(host.kernel.vmlinuz)
    for folder in ("tmp", "nowhere"):
        status, out, err = host.run("boot", "--kernel", vmlinuz, "--modules", folder)
        assert (status, out, len(err)) == (5, "", 2), err
    assert host.left() == []


@pytest.mark.parametrize(
    "options", [["-device", "no-such-device"], ["-no-such-option"], ["-kernel", "x"], ["stray"]]
)
def test_options_that_qemu_or_we_refuse(host: Host, options: list[str]) -> None:
    status, out, err = host.run("boot", *host.source, "--", *options)
    assert (status, out, len(err)) == (2, "", 2), err
    assert options[-1].lstrip("-") in err[0] or options[0] in err[0]
    assert host.left() == []


def test_a_guest_that_takes_too_long(host: Host) -> None:
    child = host.start(
        "boot", *host.source, "--timeout", "5", "--accel", "tcg", "--run", "sleep 600"
    )
    qemu = qemu_of(child)
    out, err = child.communicate(timeout=60)
    assert child.returncode == 4, err
    # A fast machine has begun to record by then, and what it has is kept.
    begun = "INCOMPLETE" in out
    assert begun or out == "", out
    lines = err.splitlines()
    console = [line for line in lines if line.startswith("  | ")]
    assert len(console) > 5
    assert any(re.match(r"  \| \[ +\d+\.\d+\] ", line) for line in console), console
    assert "the guest had not ended after 5 s" in lines[-2]
    assert "--timeout" in lines[-1]
    assert gone(qemu, 0)
    assert host.left() == ["virtio-trace.vtr"] * begun


def test_a_guest_that_panics(host: Host) -> None:
    """The events before it are kept, and the recording is incomplete."""
    status, out, err = host.run(
        "boot", *host.source, "-q", "-o", "x.vtr", "--run", "echo c >/proc/sysrq-trigger"
    )
    assert status == 4
    assert any(re.search(r"\| .*Kernel panic", line) for line in err), err
    assert "the guest died" in err[-2]
    assert "INCOMPLETE" in out
    recording = host.folder / "x.vtr"
    status, report = run_json("report", recording)
    assert status == 0
    assert [device["state"] for device in report["devices"]] == ["bound"] * 3
    assert report["recording"]["complete"] is False
    status, found = run_json("check", recording)
    assert (status, found["verdict"]) == (4, "INCOMPLETE")
    assert host.left() == ["x.vtr"]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_qemu_too(host: Host, number: signal.Signals) -> None:
    child = host.start("boot", *host.source)
    qemu = qemu_of(child)
    time.sleep(1)
    child.send_signal(number)
    out, err = child.communicate(timeout=30)
    assert gone(qemu)
    assert out == ""
    if number == signal.SIGKILL:
        assert child.returncode == -number
    else:
        assert child.returncode == 128 + number
        assert said(err) == ["virtio-trace: interrupted"]
    assert host.left() == []


@pytest.fixture
def disk(host: Host) -> Path:
    """An image with a real kernel, its modules, and an initrd that is an empty archive."""
    root = host.folder / "tmp" / "root"
    (root / "boot").mkdir(parents=True)
    modules, inside = host.kernel.modules, root / "lib/modules" / host.kernel.release
    shutil.copytree(modules / "kernel/drivers/virtio", inside / "kernel/drivers/virtio")
    for path in modules.glob("modules.[bo]*"):
        shutil.copy(path, inside)
    shutil.copy(host.kernel.vmlinuz, root / f"boot/vmlinuz-{host.kernel.release}")
    with (root / f"boot/initrd.img-{host.kernel.release}").open("wb") as file, Writer(file):
        pass
    path = host.folder / "bin" / "disk.img"
    path.parent.mkdir()
    mke2fs = [find("mke2fs"), "-q", "-t", "ext4", "-d", str(root), str(path), "64M"]
    subprocess.run(mke2fs, check=True, capture_output=True)
    shutil.rmtree(root)
    return path


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_signal_ends_an_images_boot_too(host: Host, disk: Path, number: signal.Signals) -> None:
    """And the files extracted from it are removed."""
    child = host.start("boot", "--image", str(disk), "--append", "root=/dev/vda")
    qemu = qemu_of(child)
    taken = list((host.folder / "cache/virtio-trace").glob("tmp-image-*/vmlinuz"))
    time.sleep(1)
    child.send_signal(number)
    child.communicate(timeout=30)
    assert gone(qemu)
    assert len(taken) == 1
    deadline = time.monotonic() + 10
    while host.left() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert host.left() == []


def test_an_image_that_takes_too_long(host: Host, disk: Path) -> None:
    """It has no first process: on a fast host the guest panics before the timeout."""
    arguments = ("--append", "root=/dev/vda", "--timeout", "3", "--accel", "tcg")
    status, out, err = host.run("boot", "--image", str(disk), *arguments)
    assert status == 4, err
    assert not out or "cut short: it has no trailer" in out
    too_long = "the guest had not reached what --until waits for after 3 s"
    assert too_long in err[-2] or "the guest died after" in err[-2]
    assert set(host.left()) <= {"virtio-trace.vtr"}


def has_kprobes() -> bool:
    """By the kernel's configuration, else by the file in which kprobe events are defined."""
    config = Path("/proc/config.gz")
    if config.exists():
        return "CONFIG_KPROBES=y" in gzip.decompress(config.read_bytes()).decode().splitlines()
    return Path("/sys/kernel/tracing/kprobe_events").exists()


def test_doctor_says_what_this_kernel_has(host: Host) -> None:
    status, out, err = host.run("doctor")
    assert err == []
    (line,) = [line for line in out.splitlines() if "kprobes in the kernel" in line]
    if has_kprobes():
        assert line.split()[0] == "yes"
        assert (status == 0) == ("This machine can trace." in out)
    else:
        assert status == 3
        assert line.strip() == (
            "NO   kprobes in the kernel: this kernel is built without CONFIG_KPROBES"
        )
        assert "This machine cannot trace." in out


def test_record_says_why_it_cannot_trace_here(host: Host) -> None:
    status, out, err = host.run("record", "-o", "x.vtr", "--", "true")
    if not has_kprobes():
        assert (status, out) == (3, "")
        assert re.fullmatch(
            r"virtio-trace: cannot trace here(| in an? [^:]+): "
            "this kernel is built without CONFIG_KPROBES",
            err[0],
        )
        assert len(err) == 2
        assert host.left() == []
    elif os.geteuid() != 0:
        assert (status, len(err)) == (3, 2), err
    else:
        assert status in (0, 3, 4), err
