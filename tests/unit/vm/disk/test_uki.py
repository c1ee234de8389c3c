# SPDX-License-Identifier: GPL-2.0-or-later
"""Unified kernel images: of systemd's stub and objcopy, and hostile ones."""

from __future__ import annotations

import builtins
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.unit.vm.disk import esp
from tests.unit.vm.disk.test_extract import vmlinuz
from virtio_trace.errors import BadInputError, CannotTraceError
from virtio_trace.kernel.files.machine import AARCH64, X86_64
from virtio_trace.vm.disk import uki

KERNEL = vmlinuz("6.1.0-56-cloud-amd64")
OSREL = b'ID=debian\nVERSION_ID="12"\nPRETTY_NAME="Debian GNU/Linux 12"\n# x\nBROKEN="\nX=1\n'


def test_each_section_has_its_own_length(tmp_path: Path) -> None:
    path = esp.unified(
        tmp_path / "x.efi",
        **{"osrel": OSREL, "cmdline": b"root=/dev/vda1  ro\n\0", "uname": b"6.1.0-56-cloud-amd64"},
        linux=KERNEL + b"end",
        ucode=b"microcode",
        initrd=b"initrd" * 1001,
    )
    found = uki.extract(path, tmp_path)
    assert found.vmlinuz.read_bytes() == KERNEL + b"end"
    assert [file.read_bytes() for file in found.initrds] == [b"microcode", b"initrd" * 1001]
    assert found.options == "root=/dev/vda1 ro"
    assert uki.machine(path) is X86_64
    release = uki.os_release(path)
    assert release is not None
    assert release["PRETTY_NAME"] == "Debian GNU/Linux 12" and release["VERSION_ID"] == "12"
    assert release["BROKEN"] == '"'


def test_the_first_profile_counts(tmp_path: Path) -> None:
    """Unified Kernel Image, Multi-Profile UKIs: what follows .profile is that profile's, and
    replaces what comes before all profiles."""
    path = tmp_path / "x.efi"
    path.write_bytes(
        esp.pe(
            [
                ("linux", KERNEL), ("cmdline", b"base"), ("initrd", b"all"), ("initrd", b"second"),
                ("profile", b"ID=main"), ("cmdline", b"main"),
                ("profile", b"ID=rescue"), ("cmdline", b"rescue"), ("ucode", b"rescue's"),
            ]
        )
    )  # fmt: skip
    found = uki.extract(path, tmp_path)
    assert found.options == "main"
    assert [file.read_bytes() for file in found.initrds] == [b"all"]


def test_what_is_no_unified_kernel_image(tmp_path: Path) -> None:
    path = tmp_path / "x.efi"
    path.write_bytes(esp.STUB.read_bytes())
    with pytest.raises(BadInputError, match=r"has no section \.linux"):
        uki.extract(path, tmp_path)
    assert uki.os_release(path) is None
    path.write_bytes(esp.pe([("linux", KERNEL)], 0xAA64))
    assert uki.machine(path) is AARCH64
    assert uki.os_release(path) == {}
    zboot = b"MZ\0\0zimg" + esp.pe([("linux", KERNEL)])[8:]
    for data in (b"", b"MZ", b"MZ" + bytes(600), KERNEL, zboot, esp.pe([("linux", b"")], 0x1C0)):
        path.write_bytes(data)
        assert uki.machine(path) is None
    assert uki.machine(tmp_path / "none") is None


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[:-600],  # cut
        lambda data: data[:100],
        lambda data: b"",
        lambda data: data.replace(struct.pack("<I", 4096), struct.pack("<I", 1 << 31)),
    ],
)
def test_a_damaged_one_is_refused(tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    path = tmp_path / "x.efi"
    path.write_bytes(damage(esp.pe([("cmdline", b"ro"), ("linux", KERNEL)])))
    with pytest.raises(BadInputError) as refused:
        uki.extract(path, tmp_path)
    assert "\n" not in str(refused.value) and "x.efi" in str(refused.value)


def test_sections_that_overlap_are_not_larger_than_the_file(tmp_path: Path) -> None:
    """Three sections of a MiB in the same place would be three times as large as the file."""
    data = bytearray(esp.pe([("linux", bytes(1 << 20)), ("initrd", b""), ("ucode", b"")]))
    first = data.index(b".linux\0\0") + 8
    for name in (b".initrd\0", b".ucode\0\0"):
        at = data.index(name) + 8
        data[at : at + 16] = data[first : first + 16]
    path = tmp_path / "x.efi"
    path.write_bytes(data)
    with pytest.raises(BadInputError, match="is not whole"):
        uki.extract(path, tmp_path)


def test_without_pefile_the_package_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x.efi"
    path.write_bytes(esp.pe([("linux", KERNEL)]))
    real = builtins.__import__

    def without(name: str, *rest: Any, **more: Any) -> Any:
        if name == "pefile":
            raise ImportError(name)
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(CannotTraceError, match="needs pefile") as refused:
        uki.extract(path, tmp_path)
    assert "python3-pefile" in refused.value.hint and "virtio-trace[uki]" in refused.value.hint
