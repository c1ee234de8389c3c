# SPDX-License-Identifier: GPL-2.0-or-later
"""What boot boots, by its options: unified kernel images, and images with a kernel of one's own."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from tests.unit.vm.disk import esp
from tests.unit.vm.disk.test_extract import _RELEASE, vmlinuz
from virtio_trace.cli.boot.source import Source
from virtio_trace.cli.support.progress import ProgressBar
from virtio_trace.errors import UsageError
from virtio_trace.kernel.files.machine import X86_64
from virtio_trace.vm.plan import Settings
from virtio_trace.vm.root.cpio import Writer

SETTINGS = Settings()
MODULES = f"usr/lib/modules/{_RELEASE}"


def initrd() -> bytes:
    """An initrd with one module."""
    out = io.BytesIO()
    with Writer(out) as root:
        root.file(f"{MODULES}/kernel/virtio_net.ko", b"module")
        root.file(f"{MODULES}/modules.dep", b"kernel/virtio_net.ko:\n")
        root.file(f"{MODULES}/modules.builtin", b"")
    return out.getvalue()


@pytest.fixture
def efi(tmp_path: Path) -> Path:
    """A unified kernel image without a root file system."""
    sections = {"cmdline": b"quiet\0", "linux": vmlinuz(_RELEASE), "initrd": initrd()}
    return esp.unified(tmp_path / "x.efi", **sections)


def test_a_unified_kernel_image_is_a_system(efi: Path) -> None:
    source = Source(str(efi), None, None, None, None)
    source.check(SETTINGS, "quiet")
    assert source.is_third_party and source.machine() is X86_64
    with source.plan(SETTINGS, "quiet", ProgressBar()) as plan:
        assert plan.vmlinuz.read_bytes() == vmlinuz(_RELEASE)
        assert plan.third_party is not None
        assert plan.third_party.options == "quiet"
        assert plan.third_party.only_initrd
        assert [path.read_bytes() for path in plan.third_party.initrds] == [initrd()]
        assert plan.modules is not None
        assert (plan.modules / "kernel/virtio_net.ko").read_bytes() == b"module"
        kept = plan.vmlinuz
    assert not kept.exists()
    with pytest.raises(UsageError, match="runs its own programs"):
        source.check(Settings(run="true"), None)


def test_an_initrd_replaces_that_of_a_unified_kernel_image(efi: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.write_bytes(initrd())
    source = Source(str(efi), None, None, str(other), None)
    with source.plan(SETTINGS, None, ProgressBar()) as plan:
        assert plan.third_party is not None and plan.third_party.initrds == (other,)


def test_a_unified_kernel_image_without_an_initrd(tmp_path: Path) -> None:
    path = esp.unified(tmp_path / "x.efi", linux=vmlinuz(_RELEASE))
    source = Source(str(path), None, None, None, None)
    source.check(SETTINGS, None)
    with (
        pytest.raises(UsageError, match="without an initrd"),
        source.plan(SETTINGS, None, ProgressBar()),
    ):
        pass


def test_a_disk_is_booted_by_a_unified_kernel_image(efi: Path, tmp_path: Path) -> None:
    """The disk has no kernel, and a root that its partition's type names."""
    root = tmp_path / "squashfs"
    root.write_bytes((b"hsqs".ljust(28, b"\0") + b"\4\0").ljust(1 << 20, b"\0"))
    disk = esp.disk(tmp_path / "disk.img", (esp.ROOT, root, f",uuid={esp.ROOT_UUID}"))
    source = Source(str(efi), None, None, None, str(disk))
    source.check(SETTINGS, None)
    with source.plan(SETTINGS, None, ProgressBar()) as plan:
        system = plan.third_party
        assert system is not None and system.disk is not None
        assert system.disk.path == disk
        assert system.options == f"quiet root=PARTUUID={esp.ROOT_UUID.lower()} rw"
        assert system.only_initrd and plan.modules is not None
        assert "snapshot=on" in " ".join(plan.qemu_config("tcg", 0).options)
