# SPDX-License-Identifier: GPL-2.0-or-later
"""The transports of VirtIO in Linux, a table: what is known of each, once.

A transport is a driver on another bus whose probe registers devices with the VirtIO bus
(specification, section 4). A new one is a row here and, for what its probe's argument is, the
part that runs in the kernel (bpf/events.h, enum vt_subject). Pure data.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class ProbeArgument(Enum):
    """The struct that a transport's probe function is called with: its first argument."""

    PCI_DEV = "pci_dev"
    PLATFORM_DEVICE = "platform_device"


@dataclass(frozen=True, slots=True)
class BusDriver:
    """A kind of driver that may register devices with the VirtIO bus.

    ``bus`` is the bus of the devices' parents, as sysfs names it; ``struct`` its driver struct and
    ``name_member`` that struct's member with the driver's name; ``registrar`` the function that
    registers one.
    """

    bus: str
    struct: str
    name_member: str
    registrar: str


@dataclass(frozen=True, slots=True)
class Transport:
    """A transport with probe points.

    ``driver`` is its kind of driver, ``driver_name`` its driver's name in sysfs. ``name`` is what a
    report calls the transport (None: it has more than one interface), ``devices`` what messages
    call its devices. ``module`` is its module; ``prefix`` begins the names of its functions in
    struct virtio_config_ops.

    ``probe`` is the probe point of its probe function, which has the same name, and ``argument``
    what that is called with; ``source`` is its file below drivers/virtio/, ``letter`` the probe
    point's letter in the trace ring (see ProbePoint). ``interfaces`` are the probe points, with
    their letters, of the functions with which the probe tries one interface after the other: a
    kernel then has two functions of each name in struct virtio_config_ops.

    ``vectors``: setup_vq gets the virtqueue's interrupt vector as its sixth argument.
    ``inlines_setup_vq``: setup_vq is inlined: only vring_create_virtqueue shows a virtqueue.
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
"""What is looked for in a kernel's files: include/linux/pci.h, platform_device.h, vdpa.h."""

BUS_OF = {driver.struct: driver.bus for driver in BUS_DRIVERS}
"""Driver struct to its bus."""

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
"""Section 4.1. Its two interfaces, modern and legacy, have functions of the same names."""

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
"""Section 4.2. Few machines have it, except arm64 ones."""

TRANSPORTS = (PCI, MMIO)
"""The transports that have probe points."""

BY_BUS = {transport.bus: transport for transport in TRANSPORTS}
"""By the bus of the parents of their devices."""

BY_MODULE = {transport.module: transport for transport in TRANSPORTS}
"""By their modules."""

PROBES = tuple(transport.probe for transport in TRANSPORTS)
"""The probe points of their probe functions."""

CONFIG_OPS = ("set_status", "reset", "get_features", "find_vqs", "setup_vq")
"""The probe points for which each transport has a function of its own: ``prefix`` and the name."""
