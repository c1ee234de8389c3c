# SPDX-License-Identifier: GPL-2.0-or-later
"""kernel-log: what the kernel's log says about a device that has its driver.

The procedure ends with DRIVER_OK. A disk whose reads fail afterwards has passed every step of it.
The log names the disk or the interface, and sysfs says which VirtIO device carries that.
"""

from __future__ import annotations

from collections import Counter

from virtio_trace.check.findings import WARNING, CheckContext
from virtio_trace.graph.model import Device, Graph
from virtio_trace.recording import carried
from virtio_trace.recording.machine_state import LogLine

STEP = "kernel-log"

_QUOTED = 2


def check(context: CheckContext) -> None:
    """A warning for each device that the log has warnings or errors about. Every event was read."""
    found = warnings(context.graph)
    for address, lines in found.items():
        context.finding(WARNING, STEP, address, words(context.graph, address, lines))


def warnings(graph: Graph) -> dict[str, list[LogLine]]:
    """By address, the messages of the log at the level of a warning or worse that name a disk or
    an interface of the device, or the device, if that is bound and was so at once: a failed
    binding quotes what the log says."""
    trailer = graph.recording.trailer
    lines = trailer.log.lines if trailer is not None and trailer.log is not None else ()
    grave = [line for line in lines if line.level <= carried.WARNING]
    if not grave:
        return {}
    owners = carriers(graph)
    names = _own_names(graph)
    known = carried.pattern([*owners, *names])
    found: dict[str, list[LogLine]] = {}
    for line in grave:
        said = carried.named(known, f"{line.text} {line.device or ''}")
        # The disk's name is the better evidence: virtio_blk virtio1: [vda] ...
        addresses = {owners[name] for name in said if name in owners}
        addresses = addresses or {names[name] for name in said if name in names}
        for address in addresses:
            found.setdefault(address, []).append(line)
    return {address: found[address] for address in graph.latest if address in found}


def carriers(graph: Graph) -> dict[str, str]:
    """Disk or interface to the address of the device that carries it: as at the end, or, if it is
    gone by then, at the beginning."""
    trailer = graph.recording.trailer
    end = trailer.end_state.devices if trailer is not None and trailer.end_state else ()
    known = [*graph.recording.header.snapshot.devices, *end]
    return {name: device.address for device in known for name in device.carries}


def words(graph: Graph, address: str, lines: list[LogLine]) -> str:
    """LINES about the device at ADDRESS, in words."""
    own = sorted(name for name, owner in carriers(graph).items() if owner == address)
    known = carried.pattern(own)
    named = sorted({name for line in lines for name in carried.named(known, line.text)})
    what = f"its {_kind(graph, address)} {', '.join(named)}" if named else "the device"
    texts = Counter(line.text for line in lines)
    said = ", ".join(
        f'"{text}"{f" ({times} times)" if times > 1 else ""}'
        for text, times in list(texts.items())[:_QUOTED]
    )
    more = len(texts) - _QUOTED
    tail = f" and {more} more message{'s' if more > 1 else ''}" if more > 0 else ""
    return f"the kernel's log about {what}: {said}{tail}"


def _kind(graph: Graph, address: str) -> str:
    device = graph.last_at(address)
    return "interface" if device is not None and device.id == _NET else "disk"


_NET = 1


def _own_names(graph: Graph) -> dict[str, str]:
    """The names and addresses of the devices that were bound without a failure."""
    latest = graph.latest.values()
    times = Counter(device.name for device in latest)
    found = {}
    for device in latest:
        if _is_well(device):
            found[device.address] = device.address
            if device.name is not None and times[device.name] == 1:
                found[device.name] = device.address
    return found


def _is_well(device: Device) -> bool:
    calls = [binding.call for binding in device.bindings]
    return device.bound_to is not None and all(call.result == 0 for call in calls)
