# SPDX-License-Identifier: GPL-2.0-or-later
"""Whether a plan is for the running kernel; and sysfs, as text and back."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.tracer.executor.test_plan import SMALL
from virtio_trace.kernel.running import sysfs_text
from virtio_trace.kernel.running.host import snapshot
from virtio_trace.tracer.executor import sysfs
from virtio_trace.tracer.executor.kernel import build_id, mismatch
from virtio_trace.tracer.executor.plan import Plan, decode, encode
from virtio_trace.tracer.executor.tree import Tree


def note(name: bytes, kind: int, data: bytes) -> bytes:
    head = struct.pack("<III", len(name), len(data), kind)
    return head + name + bytes(-len(name) % 4) + data + bytes(-len(data) % 4)


NOTES = note(b"Xen\0", 6, b"linux") + note(b"Linux\0", 3, b"x") + note(b"GNU\0", 3, b"\xab" * 20)


def here(**members: object) -> Plan:
    """A plan for this kernel, but for MEMBERS."""
    plan = decode(encode(SMALL))
    own = {"release": os.uname().release, "machine": os.uname().machine, "build_id": b""}
    for name, value in {**own, **members}.items():
        setattr(plan, name, value)
    return plan


@pytest.fixture
def sys(tmp_path: Path) -> Iterator[Tree]:
    (tmp_path / "sys/kernel").mkdir(parents=True)
    (tmp_path / "sys/kernel/notes").write_bytes(NOTES)
    descriptor = os.open(tmp_path / "sys", os.O_RDONLY)
    yield Tree(descriptor)
    os.close(descriptor)


def test_a_plan_for_this_kernel(sys: Tree) -> None:
    assert mismatch(here(), sys) == ""
    assert mismatch(here(build_id=b"\xab" * 20), sys) == ""
    assert mismatch(here(build_id=b"\xab" * 20), Tree(None)) == ""


def test_a_plan_for_another(sys: Tree) -> None:
    assert "is for mips, this machine is" in mismatch(here(machine="mips"), sys)
    assert "is for Linux 1.2, this is" in mismatch(here(release="1.2"), sys)
    said = mismatch(here(build_id=b"\xcd" * 20), sys)
    assert f"the build {'cd' * 20} of Linux" in said
    assert said.endswith("ab" * 20)


def test_the_build_id_among_the_notes() -> None:
    assert build_id(NOTES) == b"\xab" * 20
    assert build_id(NOTES[:-24]) == b""
    for length in range(len(NOTES)):
        assert len(build_id(NOTES[:length])) <= 20
    assert build_id(b"\xff" * 64) == b""
    assert build_id(note(b"GNU\0", 1, b"x")) == b""


def device(root: Path, name: str, **files: str) -> Path:
    """A PCI device's folder."""
    folder = root / "devices/pci0000:00" / name
    folder.mkdir(parents=True)
    for file, text in files.items():
        (folder / file).write_text(f"{text}\n")
    link = root / "bus/pci/devices" / name
    link.symlink_to(f"../../../devices/pci0000:00/{name}")
    (folder / "subsystem").symlink_to("../../../bus/pci")
    return folder


def test_sysfs_is_the_same_after_the_way(tmp_path: Path) -> None:
    root = tmp_path / "real/sys"
    for bus in ("pci", "virtio"):
        (root / f"bus/{bus}/devices").mkdir(parents=True)
        (root / f"bus/{bus}/drivers_autoprobe").write_text("1\n")
    (root / "bus/pci/drivers/virtio-pci").mkdir(parents=True)
    driver = root / "bus/virtio/drivers/virtio_rng"
    driver.mkdir(parents=True)
    (root / "module/virtio_rng").mkdir(parents=True)
    (driver / "module").symlink_to("../../../../module/virtio_rng")
    pci = device(root, "0000:00:02.0", vendor="0x1af4", device="0x1044", driver_override="(null)")
    (pci / "config").write_bytes(bytes(range(256)))
    (pci / "driver").symlink_to("../../../bus/pci/drivers/virtio-pci")
    device(root, "0000:00:01.0", vendor="0x8086", device="0x7000")
    virtio = pci / "virtio0"
    virtio.mkdir()
    for name, text in {
        "device": "0x0004", "vendor": "0x1af4", "status": "0x0000000f", "modalias": "virtio:d4v1",
        "features": "01" * 32,
    }.items():  # fmt: skip
        (virtio / name).write_text(f"{text}\n")
    (virtio / "driver").symlink_to("../../../../bus/virtio/drivers/virtio_rng")
    (virtio / "subsystem").symlink_to("../../../../bus/virtio")
    (root / "bus/virtio/devices/virtio0").symlink_to(
        "../../../devices/pci0000:00/0000:00:02.0/virtio0"
    )
    tables = root / "firmware/acpi/tables"
    tables.mkdir(parents=True)
    (tables / "VIOT").write_bytes(b"VIOT\0\xff")

    descriptor = os.open(root, os.O_RDONLY)
    text = sysfs.lines(Tree(descriptor))
    os.close(descriptor)
    again = tmp_path / "again"
    again.mkdir()
    sysfs_text.rebuild(text.splitlines(), again)

    assert snapshot(again / "sys") == snapshot(root)
    assert [one.name for one in snapshot(root).devices] == ["virtio0"]
    place = "sys/devices/pci0000:00/0000:00:02.0"
    assert (again / place / "config").read_bytes() == bytes(range(256))
    assert (again / place / "virtio0/status").read_text() == "0x0000000f\n"
    assert not (again / "sys/devices/pci0000:00/0000:00:01.0/config").exists()
    assert (again / "sys/firmware/acpi/tables/VIOT").read_bytes() == b"VIOT\0\xff"
    assert (again / "sys/bus/virtio/drivers/virtio_rng/module").is_symlink()


def test_no_sysfs_gives_no_lines() -> None:
    assert sysfs.lines(Tree(None)) == ""
