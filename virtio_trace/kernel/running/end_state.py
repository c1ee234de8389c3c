# SPDX-License-Identifier: GPL-2.0-or-later
"""The state of the machine when a recording ends: which devices have no driver, and related facts.

Probes show which functions were called; this shows that none was (Documentation/ABI/testing:
sysfs-bus-pci, sysfs-devices-supplier; drivers/base/dd.c, deferred_devs_show).
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from virtio_trace.kernel.running import sysfs, viot
from virtio_trace.kernel.running.host import snapshot
from virtio_trace.recording.machine_state import EndState, PciFunction
from virtio_trace.virtio import numbers
from virtio_trace.virtio.transports import PCI

_SUPPLIER = "supplier:"


def read_end_state(
    modules: Collection[str], sys: Path = Path("/sys"), debugfs: Path | None = None
) -> EndState:
    """The machine's state now. MODULES are those to report as loaded or not. Never raises."""
    bus = snapshot(sys)
    pci = sys / "bus/pci"
    translated = viot.read(sys)
    found = (_pci(path, translated) for path in sysfs.entries(pci / "devices"))
    return EndState(
        autoprobe={name: _autoprobe(sys / "bus" / name) for name in ("virtio", "pci")},
        pci=tuple(function for function in found if function is not None),
        registered=sysfs.is_dir(pci / "drivers" / PCI.driver_name) if sysfs.is_dir(pci) else None,
        deferred=_deferred(debugfs or sys / "kernel/debug"),
        modules=tuple(sorted(name for name in modules if _is_loaded(sys / "module" / name))),
        devices=bus.devices,
        drivers=bus.drivers,
    )


def _pci(path: Path, translated: list[viot.Range]) -> PciFunction | None:
    """A PCI device that virtio_pci_probe binds by its ids (VirtIO 4.1.2); None: another one."""
    vendor, device = sysfs.number(path / "vendor"), sysfs.number(path / "device")
    if vendor != numbers.PCI_VENDOR or device is None or device not in numbers.PCI_DEVICES:
        return None
    override = sysfs.text(path / "driver_override")
    return PciFunction(
        address=path.name,
        device=device,
        subsystem_device=sysfs.number(path / "subsystem_device"),
        driver=sysfs.link(path / "driver"),
        override=None if override in (None, "(null)", "") else override,
        suppliers=tuple(
            entry.name.removeprefix(_SUPPLIER)
            for entry in sysfs.entries(path)
            if entry.name.startswith(_SUPPLIER)
        ),
        iommu=viot.iommu_of(translated, path.name),
    )


def _deferred(debugfs: Path) -> dict[str, str | None] | None:
    """Device to reason, None where the kernel gives none. None: the file cannot be read."""
    text = sysfs.text(debugfs / "devices_deferred")
    if text is None:
        return None
    lines = (line.partition("\t") for line in text.splitlines())
    return {name.strip(): reason.strip() or None for name, _, reason in lines if name.strip()}


def _is_loaded(folder: Path) -> bool:
    """Loaded, and its init done. A built-in module has no initstate (kernel/module/sysfs.c)."""
    return sysfs.text(folder / "initstate") == "live"


def _autoprobe(bus: Path) -> bool | None:
    text = sysfs.text(bus / "drivers_autoprobe")
    return {"0": False, "1": True}.get(text) if text is not None else None
