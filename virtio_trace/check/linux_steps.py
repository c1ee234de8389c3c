# SPDX-License-Identifier: GPL-2.0-or-later
"""Profile linux: the expected procedure as data, each step with its source.

docs/procedure.md describes it. The order is partial: a driver may register before or after its
device. Only nesting and cause are fixed.
"""

from __future__ import annotations

from dataclasses import dataclass

from virtio_trace.virtio import transports

BUS = "bus"
DRIVER = "driver"
DEVICE = "device"
BINDING = "binding"
LATER = "later"
HOST = "host"


@dataclass(frozen=True, slots=True)
class Step:
    """One step. ``of``: what it is a step of. ``probes``: the probe points that show it.
    ``source``: where the kernel or the specification defines it."""

    id: str
    of: str
    text: str
    probes: tuple[str, ...]
    source: str


STEPS = (
    Step(
        "bus-registered",
        BUS,
        "the VirtIO bus is registered",
        ("bus_register",),
        "drivers/virtio/virtio.c, virtio_init: bus_register(&virtio_bus)",
    ),
    Step(
        "driver-loaded",
        DRIVER,
        "the driver's module is loaded, or it is built in",
        (),
        "kernel/module/main.c, load_module: trace_module_load",
    ),
    Step(
        "driver-registered",
        DRIVER,
        "the driver registers with the VirtIO bus",
        ("register_virtio_driver",),
        "drivers/virtio/virtio.c, register_virtio_driver",
    ),
    Step(
        "transport-probed",
        DEVICE,
        "the transport's probe takes the device",
        transports.PROBES,
        "drivers/virtio/" + "; ".join(f"{t.source}, {t.probe}" for t in transports.TRANSPORTS),
    ),
    Step(
        "device-registered",
        DEVICE,
        "the transport's probe registers the device on the VirtIO bus",
        ("register_virtio_device",),
        "drivers/virtio/virtio.c, register_virtio_device; VirtIO 3.1.1, steps 1 and 2",
    ),
    Step(
        "pair-matched",
        BINDING,
        "the bus is scanned and the pair matches by the driver's id_table",
        ("virtio_dev_match",),
        "drivers/virtio/virtio.c, virtio_dev_match and virtio_id_match",
    ),
    Step(
        "bus-probed",
        BINDING,
        "the bus calls virtio_dev_probe for the pair",
        ("virtio_dev_probe",),
        "drivers/virtio/virtio.c, virtio_dev_probe; VirtIO 3.1.1, steps 3 to 6",
    ),
    Step(
        "driver-probed",
        BINDING,
        "the driver's own probe function runs and returns 0",
        ("driver_probe",),
        "struct virtio_driver.probe (include/linux/virtio.h); VirtIO 3.1.1, steps 7 and 8",
    ),
)

LATER_STEPS = (
    Step(
        "device-restored",
        LATER,
        "the device is restored after a suspend, with its driver",
        ("virtio_device_freeze", "virtio_device_restore"),
        "drivers/virtio/virtio.c, virtio_device_restore",
    ),
    Step(
        "end-state",
        LATER,
        "sysfs at the end shows what the events show",
        (
            "register_virtio_driver",
            "unregister_virtio_driver",
            "register_virtio_device",
            "unregister_virtio_device",
            "virtio_dev_probe",
            "virtio_dev_remove",
        ),
        "Documentation/ABI/testing: sysfs-bus-virtio, sysfs-bus-pci; drivers/virtio/virtio.c",
    ),
)
"""Steps after the procedure: see suspend_rules.py and end_state_rules.py."""

HOST_STEPS = (
    Step(
        "host-status",
        HOST,
        "the device model has the guest's last status",
        ("set_status", "reset"),
        "VirtIO 2.1, 3.1.1, step 8; QEMU hw/virtio/virtio-qmp.c, qmp_x_query_virtio_status",
    ),
    Step(
        "host-features",
        HOST,
        "the device model has the negotiated features",
        ("set_status", "virtio_features_ok"),
        "VirtIO 2.2, 3.1.1, steps 4 to 6; QEMU as above, guest-features",
    ),
    Step(
        "host-queues",
        HOST,
        "the device model has the virtqueues that were set up, with the same sizes",
        ("find_vqs", "setup_vq"),
        "VirtIO 3.1.1, step 7; QEMU as above, qmp_x_query_virtio_queue_status: vring-num",
    ),
)
"""Steps that are checked if a recording has the host's own view; see host_rules.py."""

NEEDED = {probe for step in STEPS for probe in step.probes} | {
    "unregister_virtio_driver",
    "unregister_virtio_device",
    "virtio_dev_remove",
}
"""Without one of these probe points the verdict is INCOMPLETE. The others only add detail."""

BY_ID = {step.id: step for step in STEPS}
"""The steps by id; reports and scripts use the ids."""
