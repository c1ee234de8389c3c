# SPDX-License-Identifier: GPL-2.0-or-later
"""Makes the corpora of texts from golden recordings, from the tests, and from the output of QEMU,
sfdisk and debugfs; see corpus/README.md.

Run ``python -m tests.fuzz.cut``. ``tests.fuzz.cut_kernel`` makes the corpora of kernel files.
"""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import socket
import struct
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests import framed
from tests.fuzz import images
from tests.fuzz.harnesses import CORPUS
from tests.unit.kernel.running.test_viot import QEMU as VIOT
from tests.unit.tracer.session import test_agentless
from tests.unit.vm.disk import esp
from tests.unit.vm.disk.test_bootloader import GRUB, MENU
from virtio_trace.tracer.executor import frames, plan
from virtio_trace.tracer.executor.frames import FrameEncoder
from virtio_trace.tracer.executor.ring import split
from virtio_trace.vm.disk.debugfs import Debugfs
from virtio_trace.vm.disk.ext import Ext
from virtio_trace.vm.disk.partitions import FileSystem
from virtio_trace.vm.qemu import host_view
from virtio_trace.vm.qemu.frame_reader import FrameReader
from virtio_trace.vm.qemu.qmp import Monitor
from virtio_trace.vm.root.cpio import Writer

GOLDEN = Path(__file__).resolve().parents[1] / "golden"
_RECORDINGS = ("6.1", "6.1-failures", "6.1-host", "6.1-reasons", "6.1-suspend", "6.12-deferred")
_KEPT = {"virtio_net", "virtio_rng", "virtio-pci"}


def keep(harness: str, name: str, data: bytes) -> None:
    """Write a seed."""
    folder = CORPUS / harness
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(data)


def recordings() -> None:
    """From each recording: the header with two drivers, one device's events, the trailer."""
    for name in _RECORDINGS:
        path = GOLDEN / f"debian-{name}.vtr"
        header, *events, trailer = map(json.loads, path.read_bytes().splitlines())
        evidence = header["evidence"]
        for part in ("drivers", "transports"):
            evidence[part] = [one for one in evidence[part] if one["name"] in _KEPT][:2]
        evidence["builtin"] = evidence["builtin"][:5]
        kept = _one_device(events)
        probes = {event.get("probe") for event in kept}
        for part in (header, trailer):
            part["probes"] = [one for one in part["probes"] if one["probe"] in probes][:20]
        boot = header.get("boot") or {}
        boot["probes"] = [one for one in boot.get("probes", ()) if one["probe"] in probes][:20]
        trailer["events"] = len(kept)
        log = trailer.get("log")
        if log:
            log["lines"] = log["lines"][:5]
        lines = [header, *({**one, "seq": n} for n, one in enumerate(kept, 1)), trailer]
        text = "".join(json.dumps(line, separators=(",", ":")) + "\n" for line in lines)
        keep("recording", path.stem, text.encode())


def port() -> None:
    """What a guest sent: each section's first 25 lines, and the first records of each frame."""
    sent, task, _lines = framed.load(GOLDEN / "executor-6.12")
    encoder = FrameEncoder()
    made: list[bytes] = []

    def take(kind: int, data: bytes) -> None:
        if kind == frames.END:
            made.append(encoder.end())
        elif kind == frames.SECTION:
            lines = data.splitlines(keepends=True)
            known = data.startswith((b"kprobes", b"modules", b"boot"))
            made.append(encoder.section(b"".join(lines[: None if known else 25])))
        else:
            kept = split(data)[:40]
            heads = (struct.pack("<II", len(one), 0) + one + bytes(-len(one) % 8) for one in kept)
            made.append(encoder.add(b"".join(heads), len(kept)))

    reader = FrameReader(take, lambda _text: None)
    reader.feed(sent)
    keep("frames", "guest", b"\x40" + b"".join(made))
    keep("plan", "bare", plan.encode(task.plan))


def _one_device(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Events without a device, and those of the device with the most events below 45, in order."""
    addresses = [event.get("device", {}).get("address") for event in events]
    counts = {address: addresses.count(address) for address in addresses if address}
    few = [address for address, count in counts.items() if count < 45] or list(counts)
    most = max(few, key=counts.__getitem__, default=None)
    mine = [one for one, address in zip(events, addresses, strict=True) if address in (most, None)]
    return mine[:50]


def rings() -> None:
    """The beginning and a part from the middle of each trace ring's text."""
    for path in sorted(GOLDEN.glob("ring-*.txt")):
        lines = path.read_bytes().splitlines(keepends=True)
        keep("ring", path.stem, b"".join((*lines[:15], *lines[len(lines) // 2 :][:15])))


def guests() -> None:
    """The output of an agentless guest in the tests, and parts of it."""
    keep("agentless", "guest", test_agentless.text().encode())
    keep("sysfs", "small", test_agentless.SYSFS.encode())
    keep("kmsg", "guest", test_agentless.KMSG.encode())
    keep("cmdline", "list", test_agentless.KPROBES.encode())


def loaders() -> None:
    """The entries of a grub.cfg by grub-mkconfig, and a menu with every kind of word."""
    entries = GRUB.index("menuentry")
    keep("bootloader", "mkconfig", GRUB[entries : entries + 4000].encode())
    saved = MENU.format(default="${saved_entry}")
    keep("bootloader", "menu", f"{saved}=====\nsaved_entry=2\n".encode())


_SYSFS = """\
==> /sys/devices/pci0000:00/0000:00:02.0/vendor <==
0x1af4
==> /sys/devices/pci0000:00/0000:00:02.0/device <==
0x1041
==> /sys/devices/pci0000:00/0000:00:02.0/subsystem_device <==
0x0001
==> /sys/devices/pci0000:00/0000:00:02.0/driver_override <==
(null)
==> /sys/devices/pci0000:00/0000:00:02.0/virtio0/features <==
1100000000000000000000000000000000000000000000000000000000000000
==> /sys/devices/pci0000:00/0000:00:02.0/virtio0/device <==
0x0001
==> /sys/bus/pci/drivers_autoprobe <==
1
==> /sys/module/virtio_net/initstate <==
live
==> /proc/cmdline <==
quiet module_blacklist=virtio_net initcall_blacklist=virtio_blk_init
==> /etc/modprobe.d/x.conf <==
blacklist virtio_net
'/sys/bus/virtio/devices/virtio0' -> '../../../devices/pci0000:00/0000:00:02.0/virtio0'
'/sys/bus/pci/devices/0000:00:02.0' -> '../../../devices/pci0000:00/0000:00:02.0'
'/sys/devices/pci0000:00/0000:00:02.0/subsystem' -> '../../../bus/pci'
'/sys/devices/pci0000:00/0000:00:02.0/driver' -> '../../../bus/pci/drivers/virtio-pci'
'/sys/devices/pci0000:00/0000:00:02.0/virtio0/driver' -> '../../../../bus/virtio/drivers/virtio_net'
/sys/bus/pci/drivers/virtio-pci
/sys/bus/virtio/drivers/virtio_net
/sys/devices/pci0000:00/0000:00:02.0/supplier:pci:0000:00:01.0
deferred 0000:00:03.0\tvirtio_pci: wait for supplier
"""


def parts() -> None:
    """Small inputs, written by hand or taken from the tests."""
    config = bytes((0xF4, 0x1A, 0x41, 0x10, 0, 0, 0x10, 0)) + bytes(0x2C) + b"\x40" + bytes(11)
    config += b"\x09\0\x10\x01" + bytes(256 - 68)
    place = "/sys/devices/pci0000:00/0000:00:02.0"
    keep("sysfs", "pci", f"{_SYSFS}config {place} {config.hex()}\n".encode())
    keep("sysfs", "viot", f"==> /sys/firmware/acpi/tables/VIOT <==\n{VIOT!r}\n{_SYSFS}".encode())
    keep("viot", "qemu-7.2", VIOT)
    said = "virtio-trace: recorder said: x\nvirtio-trace: until yes: running\n"
    said += "virtio-trace: recorder ended with status 0\n"
    console = "[ 1.0] Kernel panic - not syncing: x\nInitramfs unpacking failed: write error\n"
    keep("channel", "all", f"\x07{{}}\n{said}{console}a login: rest".encode())
    keep("initrd", "options", b'quiet:5 rdinit=/x console=ttyS1,9600 root="a b"')
    keep("initrd", "text", b"text:login:")
    lines = (GOLDEN.parent / "fuzz" / "corpus" / "cmdline" / "list").read_text("utf-8")
    events = "p:vt/a _stext+16 n=+0(+0(%di)):string\nr64:vt/A register_virtio_device x=$retval\n"
    profile = "  vt/a   1   0\n  vtl/o  12  3\n"
    keep("cmdline", "list", f"{lines}{events}{profile}".encode())
    archive = io.BytesIO()
    with Writer(archive) as root:
        root.file("usr/bin/busybox", b"busybox")
    keep("cpio", "appliance", archive.getvalue())


def qemu() -> None:
    """The lines in which QEMU, before its guest ran, describes two devices."""
    ours, theirs = socket.socketpair()
    machine = ("-S", "-machine", "q35", "-display", "none", "-nodefaults", "-m", "64")
    bridge = ("-device", "pcie-root-port,id=port0", "-device", "virtio-balloon-pci,bus=port0")
    monitor = ("-chardev", f"socket,id=m,fd={theirs.fileno()}", "-mon", "chardev=m,mode=control")
    command = ("qemu-system-x86_64", *machine, "-device", "virtio-rng-pci", *bridge, *monitor)
    with subprocess.Popen(command, pass_fds=(theirs.fileno(),)) as child:
        theirs.close()
        tapped = _Tapped(ours)
        view = host_view.look(tapped)
        assert view.devices and len(view.devices) == 2, view
        child.terminate()
    keep("qmp", "two-devices", b"".join(line + b"\n" for line in tapped.said))


class _Tapped(Monitor):
    """Records what QEMU sends."""

    def __init__(self, end: socket.socket) -> None:
        super().__init__(end)
        self.said: list[bytes] = []

    def _object(self) -> dict[str, Any]:
        found = super()._object()
        self.said.append(json.dumps(found, separators=(",", ":")).encode())
        return found


def disks() -> None:
    """The output of sfdisk and debugfs, and the first sectors that sfdisk writes."""
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        for label in ("gpt", "dos"):
            image = scratch / "disk.raw"
            image.write_bytes(images.disk())
            table = f"label: {label}\nstart=64,size=100\nstart=200,size=100\n"
            subprocess.run(("/usr/sbin/sfdisk", "-q", image), input=table, text=True, check=True)
            command = ("/usr/sbin/sfdisk", "--json", image)
            keep(
                "partitions", label, subprocess.run(command, check=True, capture_output=True).stdout
            )
            keep("disk", label, images.patches(images.disk(), image.read_bytes()))
        (scratch / "disk.raw").write_bytes(images.ext2())
        ext = Ext("disk.raw", FileSystem(0, 0, 64 << 10, "ext2"), scratch)
        told = ext._debugfs = _Told("disk.raw", scratch)
        _ = ext.unclean, ext.names("/boot"), ext.find("/short"), ext.find("/long")
        keep("ext", "ext2", "=====\n".join(told.said).encode())
        keep("ext_image", "size", b"\x04\x04\0\0\x01\x41")


class _Told(Debugfs):
    """Records the answers of debugfs."""

    def __init__(self, file: str, scratch: Path) -> None:
        super().__init__(file, scratch, "disk")
        self.said: list[str] = []

    def ask(self, requests: Sequence[str]) -> list[str]:
        answers = super().ask(requests)
        self.said += answers
        return answers


def initrds() -> None:
    """The same modules in a plain archive after one of microcode, and in compressed ones."""
    early, main = io.BytesIO(), io.BytesIO()
    with Writer(early) as root:
        root.file("kernel/x86/microcode/GenuineIntel.bin", b"microcode")
    with Writer(main) as root:
        root.link("lib", "usr/lib")
        folder = "usr/lib/modules/6.1.0-56-cloud-amd64"
        root.file(f"{folder}/modules.dep", b"kernel/virtio_blk.ko: kernel/virtio.ko\n")
        root.file(f"{folder}/modules.builtin", b"kernel/fs/ext4.ko\n")
        root.file(f"{folder}/kernel/virtio.ko", b"bus")
        root.file(f"{folder}/kernel/virtio_blk.ko", b"disk" * 20)
    data = main.getvalue()
    keep("initrd_modules", "plain", early.getvalue() + bytes(64) + data)
    keep("initrd_modules", "gzip", early.getvalue() + gzip.compress(data, mtime=0))
    keep("initrd_modules", "xz", lzma.compress(data) + bytes(4) + bz2.compress(data))
    zstd = subprocess.run(("zstd", "-qc"), input=data, check=True, capture_output=True).stdout
    keep("initrd_modules", "zstd", zstd)


def boot_partitions() -> None:
    """A unified kernel image with two profiles, what mdir lists of an EFI system partition, and a
    byte to change in a small one."""
    sections = [
        ("osrel", b"ID=debian\nVERSION_ID=12\n"), ("linux", b"kernel" * 20), ("ucode", b"code"),
        ("initrd", b"initrd"), ("profile", b"ID=main\n"), ("cmdline", b"root=/dev/vda1 ro\n\0"),
        ("profile", b"ID=rescue\n"), ("cmdline", b"rescue"),
    ]  # fmt: skip
    keep("uki", "profiles", esp.pe(sections))
    keep("uki", "plain", esp.pe([("cmdline", b"ro"), ("linux", b"kernel")], 0xAA64))
    names = ("EFI/", "EFI/Linux/", "EFI/Linux/debian+3-0.efi", "loader/", "loader/loader.conf",
             "loader/entries/", "loader/entries/Debian 12.conf", "loader/größe[1]")  # fmt: skip
    keep("fat", "esp", "".join(f"::/{name}\n" for name in names).encode())
    listing = "DIR          20261125140638 boot/\n3000000      20261125140638 vm linuz-1\n\n"
    keep("fstest", "boot", listing.encode())
    keep("fat_image", "size", b"\x13\0\0\0\x01\x41")


if __name__ == "__main__":
    texts = (recordings, port, rings, guests, loaders)
    for make in (*texts, parts, initrds, boot_partitions, qemu, disks):
        make()
