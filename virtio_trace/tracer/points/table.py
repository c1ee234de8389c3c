# SPDX-License-Identifier: GPL-2.0-or-later
"""The probe points, a table: what is traced, where it is found, and what is not seen without it.

Which symbol a kernel has is found by trying, newest name first; see ``settle.py``. The probe
functions of the drivers are not in the table: they come from the kernel's own .ko files and, where
they are built in, from its memory.
"""

from __future__ import annotations

from dataclasses import dataclass

from virtio_trace.recording.evidence import DriverFacts, Evidence
from virtio_trace.tracer.points import shape

DRIVER_VALIDATE = "driver_validate"
"""The probe point of a driver's validate function, which may refuse a device's features."""

DRIVER_PROBE = "driver_probe"
"""The probe point of every driver's own probe function, the one in its struct virtio_driver."""


@dataclass(frozen=True, slots=True)
class ProbePoint:
    """A function's entry and return.

    ``name`` is the same on every kernel, ``symbols`` are the function's names, the newest first;
    ``module`` is the module whose function it is where it is not built in (None: always built
    in). ``subject`` says what the first argument points to (enum vt_subject), ``driver_second``
    that the second is a driver; ``result`` whether the return register means anything; ``reread``
    whether the return is to show what the function gave to the device (its index), or to an
    argument; ``anew`` that a device may be there where another was. A kernel may be built without
    an ``optional`` one's code; that it is absent from the kernel's own files is then no loss.
    ``entry`` and ``returns`` say which of the two make an event, ``detail`` what more it shows
    (enum vt_detail). ``every``: a kernel may have several functions of the name, and all of them
    are meant (vp_set_status of the modern and of the legacy PCI transport).
    """

    name: str
    symbols: tuple[str, ...]
    module: str | None
    subject: int
    without: str
    driver_second: bool = False
    entry: bool = True
    returns: bool = True
    detail: int = shape.PLAIN
    every: bool = False
    result: bool = True
    reread: bool = False
    anew: bool = False
    optional: bool = False

    def shape(self, anew: bool) -> int:
        """How the BPF program reads it (enum vt_shape); ANEW: as if it were so."""
        keep = self.reread or self.subject == shape.BUS_TYPE  # other buses have no return either
        named = self.subject == shape.MODULE_STRUCT or self.detail in _QUEUES
        virtio = self.subject in (shape.VIRTIO_DEVICE, shape.DEVICE)
        return (
            self.subject
            | self.detail << 4
            | shape.SECOND * self.driver_second
            | shape.KEEP * keep
            | shape.ANEW * (anew or self.anew or not virtio)
            | shape.QUIET * (not self.entry)
            | shape.NAMED * named
        )

    def programs(self) -> tuple[str, ...]:
        """The functions of probe.bpf.c for the entry and, where it makes an event, the return."""
        if not self.returns:
            return ("vt_entry",)
        return ("vt_entry", "vt_return_kept" if self.shape(False) & shape.KEEP else "vt_return")


_QUEUES = (shape.QUEUE, shape.QUEUE_NO_VECTOR)

TABLE = (
    ProbePoint(
        "bus_register",  # drivers/base/bus.c; virtio_init calls it (drivers/virtio/virtio.c)
        ("bus_register",),
        None,
        shape.BUS_TYPE,
        "the registration of the VirtIO bus",
    ),
    ProbePoint(
        "register_virtio_driver",  # a macro around __register_virtio_driver from Linux 6.10 on
        ("__register_virtio_driver", "register_virtio_driver"),
        "virtio",
        shape.DRIVER,
        "the registration of drivers",
    ),
    ProbePoint(
        "unregister_virtio_driver",
        ("unregister_virtio_driver",),
        "virtio",
        shape.DRIVER,
        "the removal of drivers",
        result=False,
    ),
    ProbePoint(
        "virtio_pci_probe",  # drivers/virtio/virtio_pci_common.c
        ("virtio_pci_probe",),
        "virtio_pci",
        shape.PCI_DEV,
        "the probe of PCI devices",
        optional=True,
    ),
    ProbePoint(
        "virtio_pci_modern_probe",  # drivers/virtio/virtio_pci_modern.c
        ("virtio_pci_modern_probe",),
        "virtio_pci",
        shape.VIRTIO_DEVICE,  # struct virtio_pci_device begins with one
        "which PCI transport a device has",
        anew=True,
        optional=True,
    ),
    ProbePoint(
        "virtio_pci_legacy_probe",  # drivers/virtio/virtio_pci_legacy.c
        ("virtio_pci_legacy_probe",),
        "virtio_pci",
        shape.VIRTIO_DEVICE,
        "which PCI transport a device has",
        anew=True,
        optional=True,
    ),
    ProbePoint(
        "virtio_mmio_probe",  # drivers/virtio/virtio_mmio.c
        ("virtio_mmio_probe",),
        "virtio_mmio",
        shape.PLATFORM_DEVICE,
        "the probe of MMIO devices",
        optional=True,
    ),
    ProbePoint(
        "register_virtio_device",  # drivers/virtio/virtio.c, as all that follow
        ("register_virtio_device",),
        "virtio",
        shape.VIRTIO_DEVICE,
        "the registration of devices",
        reread=True,
        anew=True,
    ),
    ProbePoint(
        "unregister_virtio_device",
        ("unregister_virtio_device",),
        "virtio",
        shape.VIRTIO_DEVICE,
        "the removal of devices",
        result=False,
    ),
    ProbePoint(
        "virtio_dev_match",
        ("virtio_dev_match",),
        "virtio",
        shape.DEVICE,
        "the scan of the bus for pairs",
        driver_second=True,
    ),
    ProbePoint(
        "virtio_dev_probe",
        ("virtio_dev_probe",),
        "virtio",
        shape.DEVICE,
        "the bus's call of a driver's probe",
    ),
    ProbePoint(
        "virtio_dev_remove",  # int until Linux 5.14, void since
        ("virtio_dev_remove",),
        "virtio",
        shape.DEVICE,
        "the unbinding of drivers",
        result=False,
    ),
)

REGISTER = ("register_virtio_driver", "register_virtio_device")
"""Points that see each device and each driver before it is used, though it is where another was."""

_MODERN_AND_LEGACY = "virtio_pci"


def _detail(
    name: str, symbols: tuple[str, ...], module: str, detail: int, without: str, **more: bool
) -> ProbePoint:
    """A function of a transport that shows the negotiation; its first argument is the device."""
    every = module == _MODERN_AND_LEGACY
    return ProbePoint(
        name, symbols, module, shape.VIRTIO_DEVICE, without,
        detail=detail, every=every, optional=True, **more,
    )  # fmt: skip


def _transport(module: str, prefix: str, queue: int) -> tuple[ProbePoint, ...]:
    """The struct virtio_config_ops of a transport (include/linux/virtio_config.h).

    At the transport, because virtio_add_status is inlined into all its callers.
    """
    status = "the device status as it is written"
    return (
        _detail(
            "set_status", (f"{prefix}_set_status",), module, shape.STATUS, status, returns=False
        ),
        _detail("reset", (f"{prefix}_reset",), module, shape.RESET, status, returns=False),
        _detail(
            "get_features", (f"{prefix}_get_features",), module, shape.FEATURES,
            "the features that a device offers", entry=False, result=False, reread=True,
        ),
        _detail("find_vqs", (f"{prefix}_find_vqs",), module, shape.COUNT, "the virtqueues"),
        _detail("setup_vq", (f"{prefix}_setup_vq",), module, queue, "the virtqueues", result=False),
    )  # fmt: skip


DETAILS = (
    *_transport("virtio_pci", "vp", shape.QUEUE),
    _detail(
        "find_vqs_msix", ("vp_find_vqs_msix",), "virtio_pci", shape.COUNT, "the fall-back to INTx"
    ),
    *_transport("virtio_mmio", "vm", shape.QUEUE_NO_VECTOR),
    ProbePoint(
        "driver_features",  # a second event at virtio_dev_probe, by a program of its own
        ("virtio_dev_probe",),
        "virtio",
        shape.DEVICE,
        "the features that a driver wants",
        detail=shape.TABLE,
        returns=False,
    ),
    ProbePoint(
        "virtio_features_ok",  # drivers/virtio/virtio.c
        ("virtio_features_ok",),
        "virtio",
        shape.VIRTIO_DEVICE,
        "whether the device took the features",
        optional=True,
    ),
    ProbePoint(
        "virtio_device_freeze",
        ("virtio_device_freeze",),
        "virtio",
        shape.VIRTIO_DEVICE,
        "suspend",
        optional=True,
    ),
    ProbePoint(
        "virtio_device_restore",
        ("virtio_device_restore",),
        "virtio",
        shape.VIRTIO_DEVICE,
        "resume",
        optional=True,
    ),
    ProbePoint(
        "do_init_module",  # kernel/module/main.c
        ("do_init_module",),
        None,
        shape.MODULE_STRUCT,
        "whether a module's init failed",
        optional=True,
    ),
)
"""What the procedure of profile linux does not need; without it the report has unknowns."""

RING = ProbePoint(
    "vring_create_virtqueue",  # drivers/virtio/virtio_ring.c
    ("vring_create_virtqueue",),
    "virtio_ring",
    shape.NOTHING,
    "the virtqueues of transports whose own function for them is inlined",
    entry=False,
    result=False,
    detail=shape.QUEUE_NO_VECTOR,
    optional=True,
)
"""Every transport's virtqueues, without a vector: virtio_mmio's vm_setup_vq is inlined. The event
is about the device whose find_vqs is running. Traced where it costs no more than a line of text."""


def points(evidence: Evidence) -> list[ProbePoint]:
    """The table, and the probe function of every driver that is known.

    Each function once: virtio_console's two drivers share virtcons_probe, and two events on one
    function would show every call of it twice.
    """
    found = {(_module(facts), facts.functions.get("probe")): facts for facts in evidence.drivers}
    drivers = [
        point
        for facts in found.values()
        for point in (driver_point(facts), validate_point(facts))
        if point is not None
    ]
    return [*TABLE, *drivers, *DETAILS]


def _module(facts: DriverFacts) -> str | None:
    return None if facts.builtin else facts.module


def driver_point(facts: DriverFacts) -> ProbePoint | None:
    """The probe point of one driver's own probe function; None where its struct names none."""
    function = facts.functions.get("probe")
    if function is None:
        return None
    return ProbePoint(
        DRIVER_PROBE,
        (function,),
        _module(facts),
        shape.VIRTIO_DEVICE,
        f"the probe function of {facts.name}",
    )


def validate_point(facts: DriverFacts) -> ProbePoint | None:
    """The probe point of one driver's validate function, where it has one."""
    function = facts.functions.get("validate")
    if function is None:
        return None
    return ProbePoint(
        DRIVER_VALIDATE,
        (function,),
        _module(facts),
        shape.VIRTIO_DEVICE,
        f"the validate function of {facts.name}",
    )
