# SPDX-License-Identifier: GPL-2.0-or-later
"""A table of the VirtIO transports in Linux.

A transport is a driver on another bus whose probe registers devices with the VirtIO bus
(specification, section 4). To add a transport, add a row here and, if its probe takes another
argument, a case in the part that runs in the kernel (bpf/events.h, enum vt_subject). Pure data.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class ProbeArgument(Enum):
    """The struct that the first argument of a transport's probe function points to."""

    PCI_DEV = "pci_dev"
    PLATFORM_DEVICE = "platform_device"


@dataclass(frozen=True, slots=True)
class BusDriver:
    """A kind of driver that may register devices with the VirtIO bus.

    ``bus`` is the bus of the devices' parents, as sysfs names it. ``struct`` is its driver struct,
    ``name_member`` the struct's member with the driver's name, ``registrar`` the function that
    registers a driver.
    """

    bus: str
    struct: str
    name_member: str
    registrar: str


@dataclass(frozen=True, slots=True)
class Transport:
    """A transport with probe points.

    ``driver`` is its kind of driver, ``driver_name`` its driver's name in sysfs. ``name`` is the
    transport's name in reports (None: each of its interfaces has its own), ``devices`` the name of
    its devices in messages. ``module`` is its module. ``prefix`` is the common prefix of its
    functions in struct virtio_config_ops.

    ``probe`` is the name of its probe function and of that function's probe point, ``argument`` the
    function's argument, ``source`` its file below drivers/virtio/, ``letter`` the probe point's
    letter in the trace ring (see ProbePoint). ``interfaces`` are the probe points, with their
    letters, of the functions with which the probe tries one interface after the other. A kernel
    then has two functions of each name in struct virtio_config_ops.

    ``vectors``: the sixth argument of setup_vq is the virtqueue's interrupt vector.
    ``inlines_setup_vq``: setup_vq is inlined, so only vring_create_virtqueue shows a virtqueue.
    ``common``: most machines may have it.
    """

    driver: BusDriver
    driver_name: str
    name: str | None
    module: str
    prefix: str
    probe: str
    argument: ProbeArgument
    source: str
    letter: str
    devices: str
    interfaces: tuple[tuple[str, str], ...] = ()
    vectors: bool = False
    inlines_setup_vq: bool = False
    common: bool = False

    @property
    def bus(self) -> str:
        """The bus of the parents of its devices."""
        return self.driver.bus


_PCI = BusDriver("pci", "pci_driver", "name", "__pci_register_driver")
_PLATFORM = BusDriver("platform", "platform_driver", "driver.name", "__platform_driver_register")
_VDPA = BusDriver("vdpa", "vdpa_driver", "driver.name", "__vdpa_register_driver")

BUS_DRIVERS = (_PCI, _PLATFORM, _VDPA)
"""The kinds that are searched for in a kernel's files. Sources: include/linux/pci.h,
platform_device.h, vdpa.h."""

BUS_OF = {driver.struct: driver.bus for driver in BUS_DRIVERS}
"""The bus of each driver struct, by the struct's name."""

PCI = Transport(
    driver=_PCI,
    driver_name="virtio-pci",
    name=None,
    module="virtio_pci",
    prefix="vp_",
    probe="virtio_pci_probe",
    argument=ProbeArgument.PCI_DEV,
    source="virtio_pci_common.c",
    letter="c",
    devices="PCI devices",
    interfaces=(("virtio_pci_modern_probe", "m"), ("virtio_pci_legacy_probe", "l")),
    vectors=True,
    common=True,
)
"""Section 4.1. Functions of its two interfaces, modern and legacy, have the same names."""

MMIO = Transport(
    driver=_PLATFORM,
    driver_name="virtio-mmio",
    name="mmio",
    module="virtio_mmio",
    prefix="vm_",
    probe="virtio_mmio_probe",
    argument=ProbeArgument.PLATFORM_DEVICE,
    source="virtio_mmio.c",
    letter="o",
    devices="MMIO devices",
    inlines_setup_vq=True,
)
"""Section 4.2. Rare, except on arm64."""

TRANSPORTS = (PCI, MMIO)
"""The transports that have probe points."""

BY_BUS = {transport.bus: transport for transport in TRANSPORTS}
"""The transports by the bus of their devices' parents."""

BY_MODULE = {transport.module: transport for transport in TRANSPORTS}
"""The transports by their modules."""

PROBES = tuple(transport.probe for transport in TRANSPORTS)
"""The probe points of their probe functions."""

CONFIG_OPS = ("set_status", "reset", "get_features", "find_vqs", "setup_vq")
"""The probe points with one function per transport, named ``prefix`` and this name."""
