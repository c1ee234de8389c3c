# SPDX-License-Identifier: GPL-2.0-or-later
"""QEMU's command line and its end; which accelerator it gets."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from virtio_trace.errors import CannotTraceError, UsageError
from virtio_trace.kernel.files.machine import X86_64
from virtio_trace.vm.qemu import accel, process


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def test_memory_goes_by_what_is_unpacked(tmp_path: Path) -> None:
    assert process.memory_for(395 << 20) == process.MEMORY
    generic = process.memory_for(664 << 20)  # Debian 12's linux-image-amd64
    # A tmpfs may fill half of what the kernel has besides the archive, and its own 100 MB.
    assert (generic - 664 - 100) // 2 > 664 + 100
    argv = process.QemuConfig(tmp_path / "k", "", "tcg", memory=generic).argv("i", 5, 6, 7)
    assert argv[argv.index("-m") + 1] == str(generic)


def test_a_command_line_that_would_kill_the_kernel_is_refused() -> None:
    room = process.room()
    assert len(process.cmdline("x" * room)) == 2047
    with pytest.raises(UsageError, match="2048 bytes"):
        process.cmdline("x" * (room + 1))
    with pytest.raises(UsageError, match="has a newline"):
        process.cmdline("a\nb")


@pytest.mark.parametrize("option", ["-kernel", "--initrd", "-append", "-daemonize"])
def test_options_that_are_ours(option: str) -> None:
    with pytest.raises(UsageError):
        process.check_options(["-device", "virtio-rng-pci", option])
    process.check_options(["-device", "virtio-rng-pci", "-smp", "2"])


def test_options_replace_the_default_devices(tmp_path: Path) -> None:
    ours = process.QemuConfig(tmp_path / "k", "quiet", "tcg").argv("i", 5, 6, 7)
    theirs = process.QemuConfig(tmp_path / "k", "", "tcg", ("-device", "x")).argv("i", 5, 6, 7)
    assert [word for word in ours if word.startswith("virtio-")] == [
        "virtio-net-pci,netdev=net0,romfile=,addr=02.0",
        "virtio-blk-pci,drive=disk0,addr=03.0",
        "virtio-rng-pci,addr=04.0",
    ]
    assert theirs[-2:] == ["-device", "x"]
    assert not any("virtio" in word for word in theirs)
    assert ours[ours.index("-cpu") + 1] == "max,-cx16"


PARENT = """
import sys, time
from pathlib import Path
from virtio_trace.vm.qemu import process
with process.Run(process.QemuConfig(Path("k"), "", "tcg"), 0) as run:
    print(run._child.pid, flush=True)
    time.sleep(60)
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_qemu_dies_with_us(tmp_path: Path, number: signal.Signals) -> None:
    fake = tmp_path / X86_64.program
    fake.write_text("#!/bin/sh\nexec sleep 60\n")
    fake.chmod(0o755)
    env = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=env
    )
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    deadline = time.monotonic() + 10
    while _name(child) != "sleep" and time.monotonic() < deadline:
        time.sleep(0.01)
    assert _name(child) == "sleep"
    parent.send_signal(number)
    parent.wait(10)
    parent.stdout.close()
    while _name(child) == "sleep" and time.monotonic() < deadline:
        time.sleep(0.01)
    assert _name(child) != "sleep"


def _name(pid: int) -> str:
    """The process's name; "" if it is gone or a zombie."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return ""
    name, state = text[text.index("(") + 1 : text.rindex(")")], text[text.rindex(")") + 2]
    return "" if state == "Z" else name


def test_kvm_that_does_not_work_is_remembered_for_this_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = tmp_path / "kvm"
    monkeypatch.setattr(accel, "usable", lambda: "" if device.exists() else "gone")
    assert accel.candidates("auto") == ("tcg",)
    with pytest.raises(CannotTraceError, match="gone"):
        accel.candidates("kvm")
    device.touch()
    assert accel.candidates("auto") == ("kvm", "tcg")
    accel.remember("tcg")
    assert accel.candidates("auto") == ("tcg",)
    assert accel.candidates("kvm") == ("kvm",)
    monkeypatch.setattr(accel, "machine", lambda: "another kernel")
    assert accel.candidates("auto") == ("kvm", "tcg")
