# SPDX-License-Identifier: GPL-2.0-or-later
"""This kernel: what it can do, what it has loaded, and its VirtIO bus as sysfs shows it."""

from __future__ import annotations

import os
import re
import zlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from virtio_trace.kernel.running import sysfs
from virtio_trace.kernel.running.proc_kallsyms import Addresses

_CAP_DAC_OVERRIDE, _CAP_SYS_ADMIN, _CAP_PERFMON, _CAP_BPF = 1, 21, 38, 39
_MAX_CONFIG = 16 << 20


@dataclass(frozen=True, slots=True)
class Answer:
    """Whether a prerequisite is there; else ``reason`` says what is wrong, ``hint`` what to do."""

    ok: bool
    reason: str = ""
    hint: str = ""


@dataclass(frozen=True)
class Running:
    """The running kernel. The folders are other ones in tests only."""

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
        """Where this kernel's modules are, if it has any."""
        return self.modules / self.release

    @cached_property
    def config(self) -> dict[str, str] | None:
        """The kernel's configuration, CONFIG_X to its value; one that is not set is "n".

        From /proc/config.gz, /boot/config-RELEASE or the module tree; None where none is there.
        """
        places = (
            self.proc / "config.gz",
            self.boot / f"config-{self.release}",
            self.module_tree / "config",
            self.module_tree / "build/.config",
        )
        for path in places:
            try:
                raw = path.read_bytes()
                if raw[:2] == b"\x1f\x8b":
                    raw = zlib.decompressobj(wbits=31).decompress(raw, _MAX_CONFIG)
            except (OSError, zlib.error):
                continue
            lines = _CONFIG_LINE.findall(raw.decode("utf-8", "replace"))
            return {unset or name: "n" if unset else value for name, value, unset in lines}
        return None

    def tracefs(self) -> Path | None:
        """Where tracefs is: /sys/kernel/tracing, or under debugfs; None where it is not mounted."""
        places = (self.sys / "kernel/tracing", self.sys / "kernel/debug/tracing")
        return next((p for p in places if sysfs.is_dir(p / "events")), None)

    def has_tracefs(self) -> Answer:
        """Whether tracefs is mounted and may be looked into."""
        if self.tracefs():
            return Answer(True)
        if self._unset("FTRACE", "TRACING"):
            return Answer(
                False, "this kernel is built without tracing (CONFIG_FTRACE)", _OTHER_KERNEL
            )
        if not self.is_privileged().ok:
            return Answer(False, "tracefs cannot be read without root", "run it with sudo")
        mount = f"mount -t tracefs tracefs {self.sys / 'kernel/tracing'}"
        return Answer(False, "tracefs is not mounted", mount)

    def has_kprobes(self) -> Answer:
        """Whether kprobes can be defined through tracefs."""
        where = self.tracefs()
        if where and sysfs.exists(where / "kprobe_events"):
            return Answer(True)
        missing = self._unset("KPROBES", "KPROBE_EVENTS")
        if missing:
            return Answer(False, f"this kernel is built without {missing}", _OTHER_KERNEL)
        if where is None:
            return self.has_tracefs()
        return Answer(False, f"{where} has no kprobe_events", _OTHER_KERNEL)

    def has_btf(self) -> Answer:
        """Whether the kernel shows the types of its structs."""
        path = self.sys / "kernel/btf/vmlinux"
        if sysfs.exists(path):
            return Answer(True)
        missing = self._unset("DEBUG_INFO_BTF")
        what = f"this kernel is built without {missing}" if missing else f"{path} is not there"
        return Answer(False, what, "boot a kernel with CONFIG_DEBUG_INFO_BTF=y, as Debian's have")

    def is_privileged(self) -> Answer:
        """Whether this process may load BPF programs and define kprobes (capabilities(7))."""
        line = re.search(
            r"^CapEff:\s*([0-9a-f]+)$", sysfs.text(self.proc / "self/status") or "", re.M
        )
        have = int(line[1], 16) if line else 0
        few = (_CAP_DAC_OVERRIDE, _CAP_PERFMON, _CAP_BPF)
        if have >> _CAP_SYS_ADMIN & 1 or all(have >> bit & 1 for bit in few):
            return Answer(True)
        return Answer(False, "not root: no CAP_SYS_ADMIN", "run it with sudo")

    def lockdown(self) -> str | None:
        """none, integrity or confidentiality; None where the kernel does not say.

        Confidentiality refuses kprobes and BPF (kernel_lockdown(7)).
        """
        found = re.search(r"\[(\w+)\]", sysfs.text(self.sys / "kernel/security/lockdown") or "")
        return found[1] if found else None

    def may_probe(self) -> Answer:
        """Whether lockdown lets kprobes through."""
        if self.lockdown() != "confidentiality":
            return Answer(True)
        return Answer(
            False,
            "the kernel is locked down (confidentiality): it refuses kprobes",
            "boot without lockdown=confidentiality",
        )

    def loaded_modules(self) -> frozenset[str]:
        """Names of the loaded modules, by /proc/modules; none where the kernel has no modules."""
        lines = (sysfs.text(self.proc / "modules") or "").splitlines()
        return frozenset(line.split()[0] for line in lines if line.strip())

    def addresses(self) -> Addresses:
        """Its symbols, none where it does not show them."""
        try:
            return Addresses((self.proc / "kallsyms").read_bytes())
        except OSError:
            return Addresses(b"")

    def _unset(self, *names: str) -> str:
        """The first of the options that the configuration is known not to have; "" for none."""
        config = self.config
        if config is None:
            return ""
        missing = (f"CONFIG_{n}" for n in names if config.get(f"CONFIG_{n}", "n") == "n")
        return next(missing, "")


_OTHER_KERNEL = "boot a kernel that has it, as Debian's have; or try: virtio-trace boot"
_CONFIG_LINE = re.compile(r"^(?:(CONFIG_\w+)=(.*)|# (CONFIG_\w+) is not set)$", re.M)


def snapshot(sys: Path = Path("/sys")) -> dict[str, Any]:
    """The VirtIO bus, now.

    {"bus": whether it is registered, "devices": [{name, address, bus, index, id, vendor,
    modalias, driver, status, features, pci}], "drivers": [{name, module}]}. Devices are in order
    of index; ``address`` is the parent device's name and ``bus`` its subsystem; ``features`` is
    the bit string of sysfs, bit 0 first; unknown is None. Never raises: what is gone while it
    is read is left out.
    """
    bus = sys / "bus/virtio"
    devices = [d for path in sysfs.entries(bus / "devices") if (d := _device(path)) is not None]
    devices.sort(key=lambda d: (d["index"] is None, d["index"] or 0, d["name"]))
    return {"bus": sysfs.is_dir(bus), "devices": devices, "drivers": registered(sys)}


def registered(sys: Path = Path("/sys")) -> list[dict[str, str | None]]:
    """The drivers on the VirtIO bus, now: [{name, module}]; never raises."""
    drivers = sysfs.entries(sys / "bus/virtio/drivers")
    return [{"name": path.name, "module": sysfs.link(path / "module")} for path in drivers]


def _device(path: Path) -> dict[str, Any] | None:
    try:
        parent = path.resolve(strict=True).parent
    except OSError:
        return None
    digits = re.search(r"([0-9]{1,9})$", path.name)
    bus = sysfs.link(parent / "subsystem")
    return {
        "name": path.name,
        "address": parent.name,
        "bus": bus,
        "index": int(digits[1]) if digits else None,
        "id": sysfs.number(path / "device"),
        "vendor": sysfs.number(path / "vendor"),
        "modalias": sysfs.text(path / "modalias") or None,
        "driver": sysfs.link(path / "driver"),
        "status": sysfs.number(path / "status"),
        "features": sysfs.text(path / "features") or None,
        "pci": _pci(parent) if bus == "pci" else None,
    }


def _pci(device: Path) -> dict[str, int | bool | None]:
    """Its ids, and whether it has the modern interface: a capability of VIRTIO_PCI_CAP_COMMON_CFG
    (VirtIO 4.1.4). That is None for who may not read behind the first 64 bytes."""
    ids = {name: sysfs.number(device / name) for name in ("vendor", "device", "subsystem_device")}
    try:
        config = (device / "config").read_bytes()
    except OSError:
        config = b""
    return {**ids, "modern": has_common_cfg(config) if len(config) >= _PCI_CONFIG else None}


_PCI_CONFIG = 256
_PCI_STATUS, _PCI_STATUS_CAPABILITIES, _PCI_FIRST_CAPABILITY = 0x06, 0x10, 0x34
_PCI_CAP_VENDOR, _VIRTIO_CAP_COMMON_CFG = 0x09, 1


def has_common_cfg(config: bytes) -> bool:
    """Whether a PCI configuration space (256 bytes) has a common configuration structure."""
    if not config[_PCI_STATUS] & _PCI_STATUS_CAPABILITIES:
        return False
    place, seen = config[_PCI_FIRST_CAPABILITY] & 0xFC, set()
    while place and place not in seen and place + 3 < len(config):
        seen.add(place)  # a list that goes in circles must end
        if config[place] == _PCI_CAP_VENDOR and config[place + 3] == _VIRTIO_CAP_COMMON_CFG:
            return True
        place = config[place + 1] & 0xFC
    return False
