# SPDX-License-Identifier: GPL-2.0-or-later
"""A plan for one kernel: which programs, which events, in which order. Pure.

See docs/decisions/0023.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from virtio_trace.tracer.bpf import wire
from virtio_trace.tracer.bpf.bytecode import FUNCTIONS, Bytecode
from virtio_trace.tracer.executor import plan as file
from virtio_trace.tracer.executor.plan import Event, Map, Plan, Point, Program
from virtio_trace.tracer.ftrace.tracefs import MAXACTIVE
from virtio_trace.tracer.points import table
from virtio_trace.tracer.points.resolve import ResolvedProbe

_MODULE_LOAD, _MODULE_LOAD_EVENT = "vt_module_load", "module/module_load"


@dataclass(frozen=True, slots=True)
class KernelIdentity:
    """The kernel that a plan is for: ``uname -r``, its build id (empty: unknown), ``uname -m``."""

    release: str
    build_id: bytes
    machine: str


@dataclass(frozen=True, slots=True)
class BootTimeEvents:
    """Events that the kernel defined at boot: their group, and the name of each by a probe's number
    and whether it is the return's."""

    group: str = ""
    names: Mapping[tuple[int, bool], str] = field(default_factory=dict)


NONE = BootTimeEvents()


def make(
    kernel: KernelIdentity,
    probes: Sequence[ResolvedProbe],
    offsets: wire.WireOffsets,
    bytecode: Bytecode,
    *,
    group: str,
    boot: BootTimeEvents = NONE,
    files: Iterable[str] = (),
) -> Plan:
    """The plan for KERNEL: every probe of PROBES that has a target, by its number in that order.

    FILES are those of modules, of which the guest is asked whether its first root has them.
    Events are defined in tracefs's GROUP, but those of BOOT, to which programs attach as they are.
    Raises CannotTraceError if there are more points than the program has room for.
    """
    return Plan(
        release=kernel.release,
        build_id=kernel.build_id,
        machine=kernel.machine,
        cookie=bytecode.cookie,
        maps=[Map(m.type, m.key_size, m.value_size, m.entries) for m in wire.MAPS],
        ring=wire.map_number("EVENTS"),
        count=wire.map_number("COUNT"),
        values=[(wire.map_number("OFFSETS"), bytes(4), bytes(offsets))],
        programs=[
            Program(
                name,
                file.TRACEPOINT if name == _MODULE_LOAD else file.KPROBE,
                bytecode.functions[name],
            )
            for name in FUNCTIONS
        ],
        points=[_module_load(), *_points(probes, group, boot)],
        boot_group=boot.group,
        files=sorted(set(files)),
        confirm=sorted(name.encode() for name in {_module(probe) for probe in probes} if name),
    )


def event_name(number: int, probe: ResolvedProbe) -> str:
    """The name of the probe's entry event in tracefs; its return's has "_ret" appended."""
    return f"{probe.point.name}_{number}"


def _module_load() -> Point:
    """First, so that no module is loaded unseen."""
    return Point(
        file.NO_POINT, 0, [Event(FUNCTIONS.index(_MODULE_LOAD), _MODULE_LOAD_EVENT, "", "")]
    )


def _points(probes: Sequence[ResolvedProbe], group: str, boot: BootTimeEvents) -> list[Point]:
    planned = []
    before: set[str] = set()
    for number, probe in enumerate(probes):
        if probe.target is None:
            continue
        wire.require_room(number)
        # Until both are attached (they come early in the table), any address may be reused.
        redescribe = not before.issuperset(table.REGISTER)
        planned.append(_point(number, probe, group, boot, redescribe=redescribe))
        before.add(probe.point.name)
    return planned


def _point(
    number: int, probe: ResolvedProbe, group: str, boot: BootTimeEvents, *, redescribe: bool
) -> Point:
    events = []
    for returns, function in zip((False, True), probe.point.programs(), strict=False):
        name = boot.names.get((number, returns))
        known = f"{boot.group}/{name}" if name else ""
        place = f"{group}/{event_name(number, probe)}{'_ret' * returns}"
        line = f"{f'r{MAXACTIVE}' if returns else 'p'}:{place} {probe.target}"
        events.append(Event(FUNCTIONS.index(function), known, place, line))
    return Point(number, probe.point.shape(redescribe), events)


def _module(probe: ResolvedProbe) -> str | None:
    return probe.target.module if probe.target is not None else None
