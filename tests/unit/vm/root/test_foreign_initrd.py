# SPDX-License-Identifier: GPL-2.0-or-later
"""What comes before a third party's initrd, read back by GNU cpio; and the kernel's options."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from virtio_trace.errors import UsageError
from virtio_trace.vm.disk.attach import Disk
from virtio_trace.vm.plan import Plan, Settings
from virtio_trace.vm.qemu import channel, process
from virtio_trace.vm.root import foreign_initrd, recorder
from virtio_trace.vm.root.cpio import Writer
from virtio_trace.vm.root.foreign_initrd import ThirdPartySystem


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def test_theirs_is_whole_behind_ours(tmp_path: Path) -> None:
    """Parts of any length each begin at a multiple of four, and the last one is the end."""
    parts = []
    for number, length in enumerate((13, 4098, 7)):
        parts.append(tmp_path / f"initrd-{number}")
        parts[-1].write_bytes(bytes([65 + number]) * length)

    def ours(root: Writer) -> None:
        root.file("virtio-trace/early", b"busy" * 1001, 0o755)

    whole = tmp_path / "whole"
    with whole.open("w+b") as out:
        foreign_initrd.write(out, ThirdPartySystem(tuple(parts)), ours)
    data = whole.read_bytes()
    at = data.rindex(b"A" * 13)
    assert at % 4 == 0
    assert data[at:] == b"A" * 13 + b"\0" * 3 + b"B" * 4098 + b"\0" * 2 + b"C" * 7
    into = tmp_path / "into"
    into.mkdir()
    unpack(data[:at], into)
    assert [path.name for path in into.iterdir()] == ["virtio-trace"]
    assert (into / "virtio-trace/early").read_bytes() == b"busy" * 1001


def unpack(archive: bytes, into: Path) -> None:
    """Unpacks with the cpio program."""
    subprocess.run(["cpio", "-idm", "--quiet"], input=archive, check=True, cwd=into)


@pytest.mark.parametrize(
    ("theirs", "append", "expected", "first"),
    [
        ("", "", "", "/init"),
        ("root=/dev/vda1 ro quiet", "debug", "root=/dev/vda1 ro quiet {} debug", "/init"),
        ('console=ttyS1,9600 a="b c"', "console=ttyS1", 'a="b c"', "/init"),
        ("rdinit=/sbin/theirs x", "", "x", "/sbin/theirs"),
        ("rdinit=/sbin/theirs x", "rdinit=/mine", "x", "/mine"),
    ],
)
def test_the_kernels_options(theirs: str, append: str, expected: str, first: str) -> None:
    foreign = ThirdPartySystem((), theirs)
    line = foreign_initrd.options(foreign, append)
    assert recorder.FIRST == "rdinit=/virtio-trace/early LD_LIBRARY_PATH=/virtio-trace/lib"
    ours = "ignore_loglevel no_timer_check console=ttyS0"
    whole = expected.format(ours) if "{}" in expected else f"{expected} {ours}".strip()
    assert line == f"{recorder.FIRST} {whole}"
    assert foreign_initrd.first_process(foreign, append) == first


def test_a_command_line_that_is_too_long_is_refused_before_anything_starts(tmp_path: Path) -> None:
    kernel = tmp_path / "vmlinuz"
    kernel.write_bytes(bytes(0x1FE) + b"\x55\xaa\0\0HdrS")
    plan = Plan.of(kernel, None, Settings("x" * 100), third_party=ThirdPartySystem((), "y" * 1900))
    with pytest.raises(UsageError, match="it takes 2047"):
        plan.qemu_config("tcg", 0).argv("i", 1, 2, 3)


DISK = Disk(Path("/a,b/disk.img"), "qcow2")
DRIVE = ("-drive", "if=none,id=image,file=/a,,b/disk.img,format=qcow2,snapshot=on")


@pytest.mark.parametrize(
    ("options", "slot"),
    [
        (("-device", "virtio-rng-pci"), "03"),
        (("-device", "virtio-rng-pci,addr=02.0"), "03"),
        (("-device", "x,addr=03", "-device", "y,addr=0x4.1,z=1"), "05"),
    ],
)
def test_the_disk_takes_no_place_that_the_user_names(options: tuple[str, ...], slot: str) -> None:
    assert DISK.devices(options) == (
        *DRIVE, "-device", f"virtio-blk-pci,drive=image,addr={slot}.0", *options,
    )  # fmt: skip


def test_the_user_may_place_the_disk() -> None:
    options = ("-device", "virtio-blk-pci,drive=image,addr=1e.0")
    assert DISK.devices(options) == (*DRIVE, *options)
    other = ("-device", "virtio-blk-pci,drive=image2")
    assert len(DISK.devices(other)) > len(DRIVE) + len(other)


def test_no_place_left() -> None:
    options = tuple(f"x,addr={slot:x}" for slot in range(3, 0x1F))
    with pytest.raises(UsageError, match="no PCI slot is left"):
        DISK.devices(options)


def test_the_default_devices_are_at_the_addresses_of_every_boot() -> None:
    def addresses(options: tuple[str, ...]) -> list[str]:
        return sorted(
            f"{option.split(',')[0]} {option.rpartition('addr=')[2]}"
            for option in options
            if "addr=" in option
        )

    assert addresses(DISK.devices(())) == addresses(process.DEVICES)


@pytest.mark.parametrize("size", [1, 3, 1000])
def test_a_text_on_the_console_is_heard_however_it_is_cut(size: int) -> None:
    tail = channel.ConsoleTail("login: ")
    said = b"Debian 12 vm ttyS0\r\n\nvm login: "
    for at in range(0, len(said) - 1, size):
        tail.feed(said[at : min(at + size, len(said) - 1)])
        assert not tail.heard
    tail.feed(said[-1:])
    assert tail.heard
    tail.feed(b"[ 1.0] Kernel panic - not syncing: VFS\n")
    assert tail.panicked
