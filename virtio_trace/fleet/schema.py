# SPDX-License-Identifier: GPL-2.0-or-later
"""The tables of a lake. docs/fleet.md has the same text; a test compares them.

Times are nanoseconds since boot (CLOCK_MONOTONIC) unless a column says otherwise. NULL is unknown.
"""

from __future__ import annotations

from dataclasses import dataclass

SCHEMA = "virtio-trace/lake/1"

TEXT, INT, FLOAT, BOOL, DAY, TIME = "text", "integer", "float", "boolean", "date", "timestamp"
"""TIME is UTC, in microseconds."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column, the kind of its values, and what they mean."""

    name: str
    kind: str
    meaning: str


COMMON = (
    Column("boot", TEXT, "id of the recording: the first 128 bits of its SHA-256"),
    Column("day", DAY, "date of `boots.recorded_at`"),
    Column("kernel", TEXT, "release of the kernel"),
)
"""The first columns of each table. Queries by date or kernel need no join."""

DEVICE = (
    Column("type", TEXT, "type of the device: net, block, ..."),
    Column("address", TEXT, "bus address of the device"),
    Column("generation", INT, "number of the device among those that had the address"),
)
"""The next columns of a table with a row for each device, or for something of a device."""


def _columns(*own: tuple[str, str, str], device: bool = False) -> tuple[Column, ...]:
    return (*COMMON, *(DEVICE if device else ()), *(Column(*one) for one in own))


TABLES: dict[str, tuple[Column, ...]] = {
    "boots": _columns(
        ("recorded_at", TIME, "modification time of the file, or `--date`; UTC"),
        ("source", TEXT, "path or URL it was imported from"),
        ("machine", TEXT, "machine of the kernel: x86_64, aarch64, ..."),
        ("kernel_order", TEXT, "sorts kernels by version"),
        ("tool", TEXT, "version of virtio-trace that recorded it"),
        ("of_boot", BOOL, "whether it begins while the machine boots"),
        ("events", INT, "events in it"),
        ("lost", INT, "events that were lost"),
        ("complete", BOOL, "whether no event of the needed probe points is missing"),
        ("ended", TEXT, "how it ended; NULL if it was cut"),
        ("verdict", TEXT, "CONFORMS, DEVIATES or INCOMPLETE, under profile linux"),
        ("devices", INT, "devices in it"),
        ("bound", INT, "devices that were bound at its end"),
        ("until_ns", INT, "when the last device had come up"),
        ("virtio_ns", INT, "time spent on the VirtIO path until then"),
    ),
    "devices": _columns(
        ("name", TEXT, "virtioN"),
        ("bus", TEXT, "bus of the address"),
        ("transport", TEXT, "pci-modern, pci-legacy, mmio, ccw, vdpa or unknown"),
        ("vendor", TEXT, "vendor id, 0x1af4"),
        ("state", TEXT, "bound, failed, unbound or removed"),
        ("driver", TEXT, "driver that has it"),
        ("reason", TEXT, "why no driver has it"),
        ("verdict", TEXT, "DEVIATES: an error at this address; INCOMPLETE: an unknown step"),
        ("latest", BOOL, "whether it is the last device at its address"),
        ("registered_ns", INT, "when it was registered"),
        ("removed_ns", INT, "when it was removed"),
        device=True,
    ),
    "bindings": _columns(
        ("number", INT, "number among the bindings of the boot, from 0"),
        ("driver", TEXT, "driver"),
        ("function", TEXT, "probe function of the driver that was called"),
        ("result", INT, "what virtio_dev_probe returned"),
        ("errno", TEXT, "name of the errno"),
        ("step", TEXT, "step of the procedure at which it failed"),
        ("reason", TEXT, "why it failed"),
        ("interrupts", TEXT, "msix or intx"),
        ("offered", INT, "features that the device offers"),
        ("wanted", INT, "features in the driver's table"),
        ("negotiated", INT, "features that were negotiated"),
        ("started_ns", INT, "when virtio_dev_probe was called"),
        ("duration_ns", INT, "how long it ran"),
        ("unbound_ns", INT, "when the driver was unbound"),
        device=True,
    ),
    "steps": _columns(
        ("subject", TEXT, "bus address, driver, or virtio for the bus"),
        ("type", TEXT, "type of the device at that address; NULL for others"),
        ("step", TEXT, "step of the procedure"),
        ("ok", BOOL, "whether it is right"),
        ("before", BOOL, "whether it came before the recording"),
    ),
    "findings": _columns(
        ("subject", TEXT, "as in steps"),
        ("type", TEXT, "as in steps"),
        ("step", TEXT, "step of the procedure, or `recording`"),
        ("severity", TEXT, "error, warning or note"),
        ("message", TEXT, "the finding"),
        ("pattern", TEXT, "the finding without addresses, virtioN, counts and log lines"),
        ("before", BOOL, "as in steps"),
    ),
    "features": _columns(
        ("number", INT, "number of the binding"),
        ("feature", TEXT, "name of the feature, offered or in the driver's table"),
        ("offered", BOOL, "whether the device offers it"),
        ("driver", BOOL, "whether the driver's table has it"),
        ("negotiated", BOOL, "whether it was negotiated"),
        device=True,
    ),
    "queues": _columns(
        ("number", INT, "number of the binding"),
        ("queue", INT, "index of the virtqueue"),
        ("name", TEXT, "name of the virtqueue"),
        ("size", INT, "size in descriptors"),
        ("vector", INT, "MSI-X vector of its own"),
        ("interrupts", INT, "interrupts until the end"),
        ("completions", INT, "completed buffers, as the host counts them"),
        device=True,
    ),
    "phases": _columns(
        ("phase", TEXT, "transport_probe, register, negotiation, driver_probe or find_vqs"),
        ("own_ns", INT, "time in the phase until the last device came up, without inner phases"),
        device=True,
    ),
}
"""By name. Every row of a recording has the same ``boot``."""


def place(table: str, column: str) -> int:
    """The index of COLUMN in the rows of TABLE. Raises ValueError."""
    return [one.name for one in TABLES[table]].index(column)
