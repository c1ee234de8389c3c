# SPDX-License-Identifier: GPL-2.0-or-later
"""The running kernel: what it supports, what it has loaded, and its VirtIO bus in sysfs."""

from __future__ import annotations

import itertools
import os
import re
import zlib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from virtio_trace.kernel.running import sysfs
from virtio_trace.kernel.running.proc_kallsyms import Addresses
from virtio_trace.recording.bus_state import BusState, SysfsDevice, SysfsDriver, SysfsPci

_MAX_CONFIG = 16 << 20
_MAX_KALLSYMS = 256 << 20
"""Bytes. Debian's kernels have some 7 MB, with every module loaded 20 MB."""
_IOMEM = re.compile(r" *([0-9a-f]{1,16})-[0-9a-f]{1,16} : (.{1,200})")
_VIRTIO = re.compile(r"virtio[0-9]{1,9}", re.ASCII)
_INDEX = re.compile(r"(?<![0-9])[0-9]{1,9}$", re.ASCII)


@dataclass(frozen=True)
class HostKernel:
    """The running kernel. Only tests give other folders."""

    proc: Path = Path("/proc")
    sys: Path = Path("/sys")
    boot: Path = Path("/boot")
    modules: Path = Path("/lib/modules")

    @cached_property
    def release(self) -> str:
        """As ``uname -r``."""
        return sysfs.text(self.proc / "sys/kernel/osrelease") or os.uname().release

    @property
    def machine(self) -> str:
        """As ``uname -m``."""
        return os.uname().machine

    @property
    def module_tree(self) -> Path:
        """The folder of this kernel's modules; it may not exist."""
        return self.modules / self.release

    @cached_property
    def config(self) -> dict[str, str] | None:
        """The kernel's configuration: CONFIG_X to its value, "n" where it is not set.

        From /proc/config.gz, /boot/config-RELEASE or the module tree; None: there is none.
        """
        places = (
            self.proc / "config.gz",
            self.boot / f"config-{self.release}",
            self.module_tree / "config",
            self.module_tree / "build/.config",
        )
        for path in places:
            raw = sysfs.data(path, _MAX_CONFIG)
            if raw is None:
                continue
            if raw[:2] == b"\x1f\x8b":
                try:
                    raw = zlib.decompressobj(wbits=31).decompress(raw, _MAX_CONFIG)
                except zlib.error:
                    continue
            lines = _CONFIG_LINE.findall(raw.decode("utf-8", "replace"))
            return {unset or name: "n" if unset else value for name, value, unset in lines}
        return None

    def tracefs(self) -> Path | None:
        """Where tracefs is mounted: /sys/kernel/tracing, or in debugfs; None: it is not mounted."""
        places = (self.sys / "kernel/tracing", self.sys / "kernel/debug/tracing")
        return next((p for p in places if sysfs.is_dir(p / "events")), None)

    def lockdown(self) -> str | None:
        """none, integrity or confidentiality; None: unknown, as securityfs is not mounted.

        Confidentiality forbids kprobes, BPF and tracefs (kernel_lockdown(7)).
        """
        found = re.search(r"\[(\w+)\]", sysfs.text(self.sys / "kernel/security/lockdown") or "")
        return found[1] if found else None

    def is_locked_down(self) -> bool:
        """Whether lockdown explains that tracefs is empty. Without securityfs, the kernel's command
        line decides; a kernel without the lockdown module ignores it, but has a tracefs."""
        mode = self.lockdown()
        if mode is None:
            line = f" {sysfs.text(self.proc / 'cmdline') or ''} "
            return " lockdown=confidentiality " in line
        return mode == "confidentiality"

    def loaded_modules(self) -> frozenset[str]:
        """Names of the loaded modules, from /proc/modules."""
        lines = sysfs.lines(self.proc / "modules")
        return frozenset(line.split()[0] for line in lines if line.strip())

    def addresses(self) -> Addresses:
        """The kernel's symbols; none where /proc/kallsyms cannot be read."""
        return Addresses(sysfs.data(self.proc / "kallsyms", _MAX_KALLSYMS) or b"")


_CONFIG_LINE = re.compile(r"^(?:(CONFIG_\w+)=(.*)|# (CONFIG_\w+) is not set)$", re.M)


def snapshot(sys: Path = Path("/sys")) -> BusState:
    """The VirtIO bus, now; devices in order of index.

    Never raises: what disappears while it is read is left out, what cannot be read is None.
    """
    bus, iomem = sys / "bus/virtio", sys.parent / "proc/iomem"
    carried = _carried(sys)
    counts = interrupts(sysfs.content(sys.parent / "proc/interrupts"))
    devices = [
        replace(found, interrupts=counts.get(path.name))
        for path in sysfs.entries(bus / "devices")
        if (found := _device(path, iomem, carried))
    ]
    devices.sort(key=lambda d: (d.index is None, d.index or 0, d.name))
    return BusState(sysfs.is_dir(bus), tuple(devices), registered(sys))


def registered(sys: Path = Path("/sys")) -> tuple[SysfsDriver, ...]:
    """The drivers on the VirtIO bus, now. Never raises."""
    drivers = sysfs.entries(sys / "bus/virtio/drivers")
    return tuple(SysfsDriver(path.name, sysfs.link(path / "module")) for path in drivers)


def _carried(sys: Path) -> dict[str, tuple[str, ...]]:
    """The interfaces and disks of each VirtIO device, by its name."""
    links = [*sysfs.entries(sys / "class/net"), *sysfs.entries(sys / "block")]
    return carried((path.name, sysfs.target(path) or "") for path in links)


def carried(links: Iterable[tuple[str, str]]) -> dict[str, tuple[str, ...]]:
    """VirtIO device to the interfaces and disks that it carries. LINKS are the names in
    /sys/class/net and /sys/block, and what these links say: the folder of a VirtIO device is in the
    path of what it carries (../../devices/pci0000:00/0000:00:02.0/virtio0/net/eth0)."""
    found: dict[str, tuple[str, ...]] = {}
    for name, target in links:
        for part in target.split("/")[:-1]:
            if _VIRTIO.fullmatch(part):
                found[part] = (*found.get(part, ()), name)
    return found


def _device(path: Path, iomem: Path, carried_by: dict[str, tuple[str, ...]]) -> SysfsDevice | None:
    try:
        parent = path.resolve(strict=True).parent
    except (OSError, RuntimeError):  # RuntimeError: a loop of links
        return None
    index = _INDEX.search(path.name)
    bus = sysfs.link(parent / "subsystem")
    return SysfsDevice(
        name=path.name,
        address=parent.name,
        bus=bus,
        index=int(index[0]) if index else None,
        id=sysfs.number(path / "device"),
        vendor=sysfs.number(path / "vendor"),
        modalias=sysfs.text(path / "modalias") or None,
        driver=sysfs.link(path / "driver"),
        status=sysfs.number(path / "status"),
        features=sysfs.text(path / "features") or None,
        pci=_pci(parent) if bus == "pci" else None,
        base=bases(sysfs.content(iomem)).get(parent.name) if bus == "platform" else None,
        carries=carried_by.get(path.name, ()),
    )


def interrupts(text: str) -> dict[str, dict[str, int]]:
    """VirtIO device to its interrupts since boot, on all CPUs, by what they are for (see
    SysfsDevice), from the TEXT of /proc/interrupts. A line has a count for each CPU, then the
    controller, then the names given to request_irq: virtio0-input.0 (vp_request_msix_vectors in
    drivers/virtio/virtio_pci_common.c), virtio0 (vm_find_vqs in virtio_mmio.c)."""
    found: dict[str, dict[str, int]] = {}
    for line in text.splitlines():
        number, _, rest = line.partition(":")
        words = rest.split()
        counts = [*itertools.takewhile(str.isdecimal, words)]
        if not number.strip().isdecimal() or not counts:
            continue
        total = sum(int(count[:15]) for count in counts)
        for word in words[len(counts) :]:
            name, _, purpose = word.rstrip(",").partition("-")
            if _VIRTIO.fullmatch(name):
                found.setdefault(name, {})[purpose] = total
    return found


def bases(text: str) -> dict[str, int]:
    """Platform device to the first address of its memory, from the TEXT of /proc/iomem, which has
    the name of a device that has a driver (devm_ioremap_resource). Only root sees addresses: to
    others all are 0, and left out."""
    found: dict[str, int] = {}
    for line in text.splitlines():
        if (place := _IOMEM.fullmatch(line)) is not None and (start := int(place[1], 16)):
            for name in place[2].split():
                found.setdefault(name, start)
    return found


def _pci(device: Path) -> SysfsPci:
    """Whether it has the modern interface: a capability of VIRTIO_PCI_CAP_COMMON_CFG (VirtIO
    4.1.4). Unknown to a user who may not read beyond the first 64 bytes."""
    config = sysfs.data(device / "config", _PCI_CONFIG) or b""
    return SysfsPci(
        vendor=sysfs.number(device / "vendor"),
        device=sysfs.number(device / "device"),
        subsystem_device=sysfs.number(device / "subsystem_device"),
        modern=has_common_cfg(config) if len(config) >= _PCI_CONFIG else None,
    )


_PCI_CONFIG = 256
_PCI_STATUS, _PCI_STATUS_CAPABILITIES, _PCI_FIRST_CAPABILITY = 0x06, 0x10, 0x34
_PCI_CAP_VENDOR, _VIRTIO_CAP_COMMON_CFG = 0x09, 1


def has_common_cfg(config: bytes) -> bool:
    """Whether a PCI configuration space (256 bytes) points to a common configuration."""
    if not config[_PCI_STATUS] & _PCI_STATUS_CAPABILITIES:
        return False
    place, seen = config[_PCI_FIRST_CAPABILITY] & 0xFC, set()
    while place and place not in seen and place + 3 < len(config):
        seen.add(place)  # a circular list must end
        if config[place] == _PCI_CAP_VENDOR and config[place + 3] == _VIRTIO_CAP_COMMON_CFG:
            return True
        place = config[place + 1] & 0xFC
    return False
