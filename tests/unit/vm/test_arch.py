# SPDX-License-Identifier: GPL-2.0-or-later
"""The machine of a guest: which one a kernel is for, and the options for QEMU and apt."""

from __future__ import annotations

import gzip
import struct
from dataclasses import replace
from pathlib import Path

import pytest

from virtio_trace.cli.boot.collectors import _unpacked
from virtio_trace.errors import BadInputError, CannotTraceError, UsageError
from virtio_trace.kernel.files.machine import AARCH64, MACHINES, X86_64
from virtio_trace.vm import arch, plan
from virtio_trace.vm.host import debian
from virtio_trace.vm.qemu import accel, process
from virtio_trace.vm.root import agentless, own, payload


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """The header of an arm64 Image (Documentation/arch/arm64/booting.rst)."""
    head = bytearray(0x400)
    head[0x38:0x3C] = b"ARM\x64"
    path = tmp_path / "a-kernel-of-no-telling-name"
    path.write_bytes(head)
    return path


def test_the_machine_is_read_from_the_image(image: Path) -> None:
    assert arch.of_kernel(image) is AARCH64


def test_an_arm64_image_may_be_packed(tmp_path: Path, image: Path) -> None:
    """As Image.gz, or for EFI (drivers/firmware/efi/libstub/zboot-header.S)."""
    packed, zboot = tmp_path / "Image.gz", tmp_path / "vmlinuz.efi"
    packed.write_bytes(gzip.compress(image.read_bytes()))
    head = b"MZ\0\0zimg" + struct.pack("<II", 64, packed.stat().st_size)
    zboot.write_bytes(head.ljust(24, b"\0") + b"gzip".ljust(40, b"\0") + packed.read_bytes())
    assert not arch.is_packed(image)
    for path in (packed, zboot):
        assert arch.is_packed(path)
        assert arch.of_kernel(path) is AARCH64
        with _unpacked(path) as unpacked:
            assert unpacked.read_bytes() == image.read_bytes()
        assert not unpacked.exists()
    packed.write_bytes(gzip.compress(b"\x7fELF" + bytes(0x400)))
    with pytest.raises(BadInputError, match="not a kernel image"):
        arch.of_kernel(packed)  # the machine is that of what is packed
    with pytest.raises(BadInputError, match="not a kernel image"), _unpacked(packed):
        pass


def test_packages_name_their_machine_as_in_apt() -> None:
    assert debian.foreign("linux-image-cloud-amd64/bookworm") is None
    assert debian.foreign("linux-image-cloud-arm64/trixie") == "arm64"
    assert debian.foreign("linux-image-6.12.9-cloud-arm64") == "arm64"
    assert debian.foreign("some-kernel:arm64/sid") == "arm64"
    assert debian.foreign("some-kernel:amd64") is None
    assert debian.parse("some-kernel:arm64/sid") == ("some-kernel", "sid")
    with pytest.raises(UsageError, match="not s390x") as said:
        debian.parse("linux-image:s390x")
    assert all(machine.debian in str(said.value) for machine in MACHINES)


def test_the_recording_has_its_own_port_on_each_machine(image: Path) -> None:
    x86 = process.QemuConfig(image, "", "tcg").argv("i", 5, 6, 7)
    arm = process.QemuConfig(image, "", "tcg", arch=AARCH64).argv("i", 5, 6, 7)
    # Not -serial: microvm has one serial port, and takes others as devices only.
    assert "isa-serial,index=1,chardev=events" in x86
    assert "pci-serial,chardev=events,addr=1f.0" in arm
    assert "virt" in arm
    assert arm[arm.index("-append") + 1].startswith("console=ttyAMA0 ")
    for machine in MACHINES:
        full = process.cmdline("x" * process.room(machine), machine)
        assert len(full) == machine.command_line
        with pytest.raises(UsageError, match=f"it takes {machine.command_line}"):
            process.cmdline("x" * (process.room(machine) + 1), machine)


@pytest.mark.parametrize(
    ("options", "slot"),
    [
        ((), "1f"),
        (("-device", "virtio-rng-pci,addr=1f.0"), "1e"),
        (("-device", "virtio-rng-pci,addr=0x1f", "-device", "a,addr=1E.2,x=1"), "1d"),
        (("-device", "virtio-rng-pci,mac_addr=52:54"), "1f"),
    ],
)
def test_it_avoids_slots_that_the_user_names(options: tuple[str, ...], slot: str) -> None:
    assert f"pci-serial,chardev=events,addr={slot}.0" in arch.channel_options(AARCH64, options)


def test_kvm_is_for_the_hosts_machine_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accel, "usable", lambda: "")
    assert accel.candidates("auto", AARCH64) == ("tcg",)
    with pytest.raises(CannotTraceError, match="this machine is not aarch64"):
        accel.candidates("kvm", AARCH64)


def test_which_collector() -> None:
    auto, bpf, ring = (plan.Settings(collector=name) for name in ("auto", "bpf", "ftrace"))
    assert plan.uses_agent(auto, X86_64)
    assert plan.uses_agent(bpf, X86_64)
    assert not plan.uses_agent(ring, X86_64)
    assert plan.uses_agent(auto, AARCH64)
    with pytest.raises(UsageError, match=r"does not support aarch64.*") as said:
        plan.uses_agent(bpf, replace(AARCH64, agent=False))
    assert "--collector ftrace" in str(said.value.hint)
    assert not plan.uses_agent(auto, replace(AARCH64, agent=False))


def test_the_root_of_a_guest_without_an_agent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The archive has these files by name; a .ko.zst is unpacked first."""
    modules = tmp_path / "lib" / "modules" / "6.0"
    (modules / "kernel").mkdir(parents=True)
    (modules / "kernel" / "a.ko.zst").write_bytes(b"packed")
    (modules / "kernel" / "b.ko.xz").write_bytes(b"xz")
    (tmp_path / "busybox").write_bytes(b"busybox")
    monkeypatch.setattr(payload, "index", lambda *_: [])
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    made = agentless.AgentlessSetup(
        "", lambda sink: sink, ("p:vtl/a b",), ("vtl:*",), lambda _: b"unpacked"
    )
    with (tmp_path / "out").open("wb") as out:
        root = agentless.root(made, AARCH64, "true")
        own.write(out, modules, root, tmp_path / "busybox")
    archive = (tmp_path / "out").read_bytes()
    for content in (b"p:vtl/a b\n", b"vtl:*\n", b"unpacked", b"xz", b"busybox", b"true\n"):
        assert content in archive
    assert b"packed\0" not in archive.replace(b"unpacked", b"")
    for name in (b"init\0", b"bin/sh\0", b"virtio-trace/drive\0", b"kernel/a.ko.zst\0"):
        assert name in archive
