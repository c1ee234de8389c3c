# SPDX-License-Identifier: GPL-2.0-or-later
"""The kernel parameters with which a kernel records its own early boot, as much as fits. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from virtio_trace.tracer.ftrace.fetchargs import Definition

GROUP = "vt"
"""The group of boot-time events: short, as every definition has it."""

CMDLINE_MAX = 2047
"""Characters of a kernel command line (COMMAND_LINE_SIZE - 1 on x86-64 and arm64); an x86-64 kernel
that is given one more dies without a word."""

SWITCHES = "trace_clock=mono trace_event=module:module_load"
"""The clock of all recordings; the events of modules, which also have the kernel give the ring its
size from the start (1.4 MB a processor; without any trace_event= it stays at 7 KB)."""

PARAMETERS = ("trace_clock", "trace_event", "kprobe_event")
"""The names of all that stand in a BootLine."""

_EVENT = " kprobe_event="

ORDER = (
    "register_virtio_device",
    "virtio_pci_probe",
    "virtio_mmio_probe",
    "virtio_dev_probe",
    "virtio_dev_match",
    "register_virtio_driver",
    "driver_probe",
    "unregister_virtio_device",
    "virtio_dev_remove",
    "unregister_virtio_driver",
    "bus_register",
    "set_status",
    "virtio_pci_modern_probe",
    "virtio_pci_legacy_probe",
    "get_features",
    "virtio_features_ok",
    "reset",
    "find_vqs",
    "setup_vq",
    "find_vqs_msix",
    "driver_validate",
    "driver_features",
    "do_init_module",
    "virtio_device_restore",
    "virtio_device_freeze",
    "vring_create_virtqueue",
)
"""The probe points, the most important first: without those up to bus_register no verdict."""

BUS_TOO_EARLY = "the kernel registers its bus before it arms events (core_initcall)"


@dataclass(frozen=True, slots=True)
class BootLine:
    """What goes on the command line. ``text`` is empty where nothing fits; ``left`` are the
    definitions for which there was no room."""

    text: str
    armed: list[Definition]
    left: list[Definition]


COMMON = ("virtio_net", "virtio_blk", "virtio_scsi", "virtio_rng", "virtio_balloon")
"""Modules of drivers for devices that most machines have."""

MMIO = "virtio_mmio"
"""A transport that few machines have, but for arm64's."""


def boot_line(
    definitions: Iterable[Definition], room: int, prefer: Collection[str] = COMMON
) -> BootLine:
    """The parameters, at most ROOM characters; a point's entry and return together or not at all.

    Drivers and virtio_mmio in modules that are not among PREFER come last. One kprobe_event=, as
    of several the last one counts before Linux 7.
    """
    calls: dict[int, list[Definition]] = {}
    for one in definitions:
        calls.setdefault(one.number, []).append(one)
    ordered = sorted(calls.values(), key=lambda call: _rank(call[0], prefer))
    group = GROUP
    left_room = room - len(SWITCHES) - len(_EVENT) + 1
    armed: list[Definition] = []
    left: list[Definition] = []
    for call in ordered:
        size = sum(len(one.parameter(group)) + 1 for one in call)
        if size <= left_room:
            left_room -= size
            armed += call
        else:
            left += call
    text = f"{SWITCHES}{_EVENT}{';'.join(one.parameter(group) for one in armed)}" if armed else ""
    return BootLine(text, armed, left)


def _rank(one: Definition, prefer: Collection[str]) -> tuple[bool, int]:
    module, name = one.target.module, one.point.name
    rare = module == MMIO or (module is not None and name in _OF_DRIVERS)
    return rare and module not in prefer, ORDER.index(name)


_OF_DRIVERS = ("driver_probe", "driver_validate")


def worth_arming(
    definitions: Sequence[Definition], builtin: Iterable[str], *, modules: bool
) -> list[Definition]:
    """Those that can show something at boot: not the registration of a bus that is built in, as
    that is over by then. MODULES: also what happens once there is a user space."""
    never = {"bus_register"} if "virtio" in builtin else set()
    if not modules:
        never |= _BY_USERS
    return [
        one
        for one in definitions
        if (modules or one.target.module is None) and one.point.name not in never
    ]


_BY_USERS = {"do_init_module", "virtio_device_freeze", "virtio_device_restore"}
"""What nobody asks for before user space begins."""


@dataclass(frozen=True, slots=True)
class Listed:
    """A line of kprobe_events: what is defined there, by its parts."""

    name: str
    returns: bool
    target: str
    arguments: tuple[str, ...]


_LISTED = re.compile(r"^([pr])\d*:(\S+?)/(\S+) (\S+)(.*)$", re.MULTILINE)
_PLUS = re.compile(r"\+(?:0x([0-9a-f]{1,16})|([0-9]{1,19}))$")


def listed(kprobe_events: str, group: str = GROUP) -> list[Listed]:
    """The events of GROUP in the text of kprobe_events, in their order there."""
    return [
        Listed(name, kind == "r", _target(target), tuple(rest.split()))
        for kind, where, name, target, rest in _LISTED.findall(kprobe_events)
        if where == group
    ]


def recognized(
    events: Iterable[Listed], definitions: Iterable[Definition]
) -> tuple[list[Definition], list[Listed]]:
    """Those of DEFINITIONS that EVENTS are, by their names there; and the events that are none.

    By target and arguments, which are this kernel's: another kernel's would show nonsense.
    """
    known = {(one.returns, _target(str(one.target)), one.arguments): one for one in definitions}
    found, strange = [], []
    for event in events:
        one = known.get((event.returns, event.target, event.arguments))
        if one is None:
            strange.append(event)
        else:
            found.append(
                Definition(
                    event.name, one.number, one.point, one.target, one.returns, one.arguments
                )
            )
    return found, strange


def _target(text: str) -> str:
    """As the kernel prints it: the offset in decimal digits (trace_kprobe.c)."""
    return _PLUS.sub(lambda m: f"+{int(m[1], 16) if m[1] else int(m[2])}", text)
