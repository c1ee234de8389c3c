# SPDX-License-Identifier: GPL-2.0-or-later
"""The probe points, a table: what is traced, where it is found, and what is not seen without it.

To add a point, add a row; letters and priorities are checked when this file is imported. Which
symbol a kernel has is found by trying, newest name first (``resolve.py``). The probe functions of
drivers are not in the table: they come from the kernel's .ko files and, if built in, from memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from virtio_trace.recording.evidence import DriverFacts, Evidence
from virtio_trace.tracer.points import shape
from virtio_trace.tracer.points.point import ProbePoint, check_table
from virtio_trace.virtio.transports import CONFIG_OPS, PCI, TRANSPORTS, ProbeArgument, Transport

DRIVER_VALIDATE = "driver_validate"
"""The probe point of a driver's validate function, which may refuse a device's features."""

DRIVER_PROBE = "driver_probe"
"""The probe point of every driver's own probe function, the one in its struct virtio_driver."""

SUBJECTS = {
    ProbeArgument.PCI_DEV: shape.PCI_DEV,
    ProbeArgument.PLATFORM_DEVICE: shape.PLATFORM_DEVICE,
}
"""What a transport's probe is called with, to enum vt_subject."""


def _probes(number: int, transport: Transport) -> Iterator[ProbePoint]:
    """The probe function of a transport, and those with which it tries each interface."""
    yield ProbePoint(
        transport.probe,
        (transport.probe,),
        transport.module,
        SUBJECTS[transport.argument],
        f"the probe of {transport.devices}",
        letter=transport.letter,
        priority=20 + number,
        optional=True,
    )
    for place, (name, letter) in enumerate(transport.interfaces):
        yield ProbePoint(
            name,
            (name,),
            transport.module,
            shape.VIRTIO_DEVICE,  # struct virtio_pci_device begins with one
            f"which {transport.bus.upper()} transport a device has",
            letter=letter,
            priority=130 + 5 * place,
            redescribe=True,
            announces=True,
            optional=True,
        )


CORE_POINTS = (
    ProbePoint(
        "bus_register",  # drivers/base/bus.c; virtio_init calls it (drivers/virtio/virtio.c)
        ("bus_register",),
        None,
        shape.BUS_TYPE,
        "the registration of the VirtIO bus",
        letter="b",
        priority=110,
    ),
    ProbePoint(
        "register_virtio_driver",  # since Linux 6.10 a macro around __register_virtio_driver
        ("__register_virtio_driver", "register_virtio_driver"),
        "virtio",
        shape.DRIVER,
        "the registration of drivers",
        letter="d",
        priority=60,
    ),
    ProbePoint(
        "unregister_virtio_driver",
        ("unregister_virtio_driver",),
        "virtio",
        shape.DRIVER,
        "the removal of drivers",
        letter="e",
        priority=100,
        result=False,
    ),
    # drivers/virtio/virtio_pci_common.c, virtio_pci_modern.c, virtio_pci_legacy.c, virtio_mmio.c
    *(point for number, each in enumerate(TRANSPORTS) for point in _probes(number, each)),
    ProbePoint(
        "register_virtio_device",  # drivers/virtio/virtio.c, as are the points below
        ("register_virtio_device",),
        "virtio",
        shape.VIRTIO_DEVICE,
        "the registration of devices",
        letter="r",
        priority=10,
        reread=True,
        redescribe=True,
        announces=True,
    ),
    ProbePoint(
        "unregister_virtio_device",
        ("unregister_virtio_device",),
        "virtio",
        shape.VIRTIO_DEVICE,
        "the removal of devices",
        letter="u",
        priority=80,
        result=False,
    ),
    ProbePoint(
        "virtio_dev_match",
        ("virtio_dev_match",),
        "virtio",
        shape.DEVICE,
        "the scan of the bus for pairs",
        letter="t",
        priority=50,
        arg2_driver=True,
    ),
    ProbePoint(
        "virtio_dev_probe",
        ("virtio_dev_probe",),
        "virtio",
        shape.DEVICE,
        "the bus's call of a driver's probe",
        letter="p",
        priority=40,
        binds=True,
    ),
    ProbePoint(
        "virtio_dev_remove",  # int until Linux 5.14, void since
        ("virtio_dev_remove",),
        "virtio",
        shape.DEVICE,
        "the unbinding of drivers",
        letter="x",
        priority=90,
        result=False,
        binds=True,
    ),
)
"""The points that the procedure of profile linux needs, but for the drivers' own functions."""

REGISTER = ("register_virtio_driver", "register_virtio_device")
"""The points that see each driver and device before its first use, even at a reused address."""


def _detail(transport: Transport, name: str, letter: str, priority: int, **more: Any) -> ProbePoint:
    """A transport's function that shows the negotiation; its first argument is the device."""
    return ProbePoint(
        name,
        (f"{transport.prefix}{name}",),
        transport.module,
        shape.VIRTIO_DEVICE,
        letter=letter,
        priority=priority,
        every=bool(transport.interfaces),
        optional=True,
        **more,
    )


def _config_ops(transport: Transport) -> tuple[ProbePoint, ...]:
    """The functions in a transport's struct virtio_config_ops (include/linux/virtio_config.h).

    The status is traced there because virtio_add_status is inlined into all its callers.
    """
    status, queues = "the device status as it is written", "the virtqueues"
    queue = shape.QUEUE if transport.vectors else shape.QUEUE_NO_VECTOR
    offered = "the features that a device offers"
    return (
        _detail(
            transport, "set_status", "s", 120, without=status, detail=shape.STATUS, returns=False
        ),
        _detail(transport, "reset", "z", 170, without=status, detail=shape.RESET, returns=False),
        _detail(
            transport, "get_features", "f", 150, without=offered, detail=shape.FEATURES,
            entry=False, result=False, reread=True,
        ),
        _detail(transport, "find_vqs", "v", 180, without=queues, detail=shape.COUNT),
        _detail(transport, "setup_vq", "q", 190, without=queues, detail=queue, result=False),
    )  # fmt: skip


def _device_function(
    name: str, letter: str, priority: int, without: str, *, user_space: bool = False
) -> ProbePoint:
    """A function of drivers/virtio/virtio.c whose argument is the device."""
    return ProbePoint(
        name, (name,), "virtio", shape.VIRTIO_DEVICE, without, letter, priority,
        optional=True, user_space=user_space,
    )  # fmt: skip


NEGOTIATION_POINTS = (
    *_config_ops(PCI),
    _detail(PCI, "find_vqs_msix", "i", 200, without="the fall-back to INTx", detail=shape.COUNT),
    *(point for other in TRANSPORTS if other is not PCI for point in _config_ops(other)),
    ProbePoint(
        "driver_features",  # a second event at virtio_dev_probe, by a program of its own
        ("virtio_dev_probe",),
        "virtio",
        shape.DEVICE,
        "the features that a driver wants",
        letter="a",
        priority=220,
        detail=shape.TABLE,
        returns=False,
    ),
    _device_function("virtio_features_ok", "k", 160, "whether the device took the features"),
    _device_function("virtio_device_freeze", "w", 250, "suspend", user_space=True),
    _device_function("virtio_device_restore", "y", 240, "resume", user_space=True),
    ProbePoint(
        "do_init_module",  # kernel/module/main.c
        ("do_init_module",),
        None,
        shape.MODULE_STRUCT,
        "whether a module's init failed",
        letter="n",
        priority=230,
        optional=True,
        user_space=True,
    ),
)
"""What the procedure of profile linux does not need; without it the report has unknowns."""

VRING_POINT = ProbePoint(
    "vring_create_virtqueue",  # drivers/virtio/virtio_ring.c
    ("vring_create_virtqueue",),
    "virtio_ring",
    shape.NOTHING,
    "the virtqueues of transports whose own function for them is inlined",
    letter="j",
    priority=260,
    entry=False,
    result=False,
    detail=shape.QUEUE_NO_VECTOR,
    optional=True,
)
"""The virtqueues of every transport, without a vector; virtio_mmio's vm_setup_vq is inlined. The
event is about the device whose find_vqs is running. Only collected as text: there it is cheap."""


def points(evidence: Evidence) -> list[ProbePoint]:
    """The table, and the probe and validate function of every known driver.

    Each function once: virtio_console's two drivers share virtcons_probe, and two events on one
    function would show every call twice.
    """
    found = {(_module(facts), facts.functions.get("probe")): facts for facts in evidence.drivers}
    drivers = [
        point
        for facts in found.values()
        for point in (driver_point(facts), validate_point(facts))
        if point is not None
    ]
    return [*CORE_POINTS, *drivers, *NEGOTIATION_POINTS]


def driver_point(facts: DriverFacts) -> ProbePoint | None:
    """The probe point of a driver's probe function; None if its struct names none."""
    function = facts.functions.get("probe")
    return of_driver(DRIVER_PROBE, function, facts.name, _module(facts)) if function else None


def validate_point(facts: DriverFacts) -> ProbePoint | None:
    """The probe point of a driver's validate function; None if it has none."""
    function = facts.functions.get("validate")
    return of_driver(DRIVER_VALIDATE, function, facts.name, _module(facts)) if function else None


def of_driver(name: str, function: str, driver: str, module: str | None) -> ProbePoint:
    """The probe point NAME (DRIVER_PROBE or DRIVER_VALIDATE) on a FUNCTION of DRIVER."""
    word, letter, priority = _OF_DRIVERS[name]
    return ProbePoint(
        name, (function,), module, shape.VIRTIO_DEVICE, f"the {word} function of {driver}",
        letter, priority,
    )  # fmt: skip


_OF_DRIVERS = {DRIVER_PROBE: ("probe", "g", 70), DRIVER_VALIDATE: ("validate", "h", 210)}


def _module(facts: DriverFacts) -> str | None:
    return None if facts.builtin else facts.module


check_table(
    (
        *CORE_POINTS,
        *NEGOTIATION_POINTS,
        VRING_POINT,
        *(of_driver(name, name, "any driver", None) for name in _OF_DRIVERS),
    ),
    named=(*REGISTER, *CONFIG_OPS),
)
