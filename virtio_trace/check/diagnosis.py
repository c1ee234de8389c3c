# SPDX-License-Identifier: GPL-2.0-or-later
"""Why a device or driver did not come up, in words, from the recording alone.

What the recording does not show is reported as unknown; nothing is guessed.
"""

from __future__ import annotations

from virtio_trace.check import initrd, refused
from virtio_trace.check.missing_features import missing
from virtio_trace.graph.calls import Call, failure
from virtio_trace.graph.model import Binding, Device, Graph
from virtio_trace.recording.machine_state import (
    INITCALL_BLACKLIST,
    BlacklistRule,
    EndState,
    LogLine,
)
from virtio_trace.virtio import features, numbers
from virtio_trace.virtio.numbers import EPROBE_DEFER

_WARNING = 4
_QUOTED = 2
_SLACK_NS = 250_000_000
"""The log has its own clock (kernel/printk/printk.c: local_clock), and is read every 0.1 s."""


def binding(graph: Graph, subject: Binding, uncalled: bool) -> str:
    """Why virtio_dev_probe failed for SUBJECT. UNCALLED: the driver's own probe function is proven
    not to have been called."""
    call, probe, found = subject.call, subject.probe, subject.negotiation
    if probe is not None and probe.result not in (0, None):
        said = failure(probe) + _innermost(probe)
    elif found.features_ok is not None and _failed(found.features_ok):
        said = _features(subject, found.features_ok)
    elif found.validate is not None and _failed(found.validate):
        name = subject.driver or "the driver"
        said = f"{failure(found.validate)}: {name} refused the device{missing_words(subject)}"
    else:
        said = failure(call)
        if probe is None and subject.driver is not None and uncalled:
            said += f" before {subject.driver}'s own probe function was called"
        said += _innermost(call)
    if call.result == -EPROBE_DEFER:
        said += "; the kernel tries again later" + deferral(graph, subject.device)
    return said + _log(graph, subject)


def _failed(call: Call) -> bool:
    return call.result is not None and call.result < 0


def _innermost(outer: Call) -> str:
    """The last, innermost traced call in OUTER that OUTER's error came from. Every call in between
    returned the same error, so a failure that was recovered from (MSI-X) does not count."""
    if outer.entry is None or outer.ret is None:
        return ""
    origin = (outer.origins or {}).get(outer.result or 0)
    return "" if origin is None else f"; innermost traced call: {origin}"


def _features(subject: Binding, call: Call) -> str:
    """virtio_features_ok failed: the device, or the kernel itself, rejected the features."""
    found, device, name = subject.negotiation, subject.device.id, subject.driver or "the driver"
    offered, wanted, written = found.offered, found.wanted, found.written
    said = failure(call)
    if written is None:
        # virtio_features_ok first checks what the architecture requires
        said += ": no write of FEATURES_OK to the device was seen"
    else:
        said += f": the device refused the features that {name} wrote"
    said += missing_words(subject)
    if offered is None or written is None:
        said += f"; offered: {_names(device, offered)}"
        said += f"; in {name}'s table: {_names(device, wanted)}"
        return said + (f"; written: {_names(device, written)}" if written is not None else "")
    said += f"; offered, but not written: {_names(device, offered & ~written)}"
    if written & ~offered:
        said += f"; written, but not offered: {_names(device, written & ~offered)}"
    return said


def missing_words(subject: Binding) -> str:
    """The features that SUBJECT lacks, with the reasons; "" if none can be named."""
    device = subject.device.id
    return "".join(
        f"; missing: {features.name(device, one.bit)} ({one.why})" for one in missing(subject)
    )


def _names(device: int | None, bits: int | None) -> str:
    if bits is None:
        return "unknown"
    known = features.names(device, numbers.bits(bits))
    return ", ".join(known) or "none"


def deferral(graph: Graph, device: Device) -> str:
    """What a deferred DEVICE waits for, as far as the kernel tells."""
    graph.need_end()
    end = end_state(graph)
    if end is None:
        return "; what it waits for is not in the recording"
    if end.deferred is None:
        return "; what it waits for is unknown: debugfs' devices_deferred could not be read"
    names = [name for name in (device.name, device.address) if name in end.deferred]
    if not names:
        return "; what it waited for is unknown: it was no longer deferred at the end"
    said = "".join(f"; the kernel says: {end.deferred[n]}" for n in names if end.deferred[n])
    function = device.function
    if function is not None and function.suppliers:
        said += f"; its suppliers in sysfs: {', '.join(function.suppliers)}"
    if function is not None and function.iommu is not None:
        return said + _behind(graph, function.iommu)
    return (said or "; the kernel does not say what it waits for") + _iommus(graph)


def _behind(graph: Graph, iommu: str) -> str:
    """The IOMMU that ACPI's VIOT table names. The kernel does not name it: viot_iommu_configure
    (drivers/acpi/viot.c) returns -EPROBE_DEFER without a device link."""
    said = f"; ACPI's VIOT puts it behind the VirtIO IOMMU at {iommu}"
    found = graph.last_at(iommu)
    if found is None:
        return f"{said}, which is not on the VirtIO bus"
    return said if _is_in_use(found) else f"{said}, which has no driver"


def _iommus(graph: Graph) -> str:
    """VirtIO IOMMUs without a driver. Whether the device is behind one of them is unknown."""
    idle = [device.address for device in graph.iommus() if not _is_in_use(device)]
    return f"; the VirtIO IOMMU at {', '.join(idle)} has no driver" if idle else ""


def _is_in_use(device: Device) -> bool:
    return device.bound_to is not None or device.unregister is not None


def _late(graph: Graph) -> list[BlacklistRule]:
    """Rules added to modprobe's configuration after the recording began."""
    header, trailer = graph.recording.header, graph.recording.trailer
    if trailer is None or header.blacklist is None:
        return []
    return [rule for rule in trailer.blacklist or () if rule not in header.blacklist]


def module(graph: Graph, name: str, init: str | None, aliases: tuple[str, ...] = ()) -> str:
    """Why the driver in the module NAME, with the init function INIT, did not register."""
    header, end = graph.recording.header, end_state(graph)
    uncalled = forbidden_init(graph, init)
    if name in header.evidence.builtin:
        return f"{name} is built in{uncalled or '; why it did not register is unknown'}"
    if name in graph.modules or (end is not None and name in end.modules):
        return f"its module {name} was loaded, {_init(graph, name)}{uncalled}"
    rules = [r for r in header.blacklist or () if r.by != INITCALL_BLACKLIST and r.what == name]
    late = [r for r in _late(graph) if r.what == name]
    causes = [*initrd.words(graph, name), *(rule.words for rule in rules)]
    alias = f" (alias {', '.join(aliases)})" if aliases else ""
    listed = [line for line in graph.log.get(name, []) if "blacklisted" in line.text]
    # The kernel's own word for it is the cause of what modprobe says then, "not permitted".
    if not listed and (said := refused.of_module(graph, name, f"its module {name}{alias}")):
        return said + "".join(f"; {cause}" for cause in causes)
    said = f"its module {name}{alias} was not loaded"
    others = refused.of_others(graph)
    if causes:
        said += f": {'; '.join(causes)}"
    elif late:
        said += f": {'; '.join(rule.words for rule in late)} since the recording began"
    elif others:
        said += others
    elif header.blacklist is None:
        said += "; whether something forbids it is not in the recording"
    else:
        said += (
            "; neither the kernel command line nor modprobe's configuration forbids it, "
            "and whether anything asked for it is unknown"
        )
    return said + _quote(listed)


def forbidden_init(graph: Graph, init: str | None) -> str:
    """The rule that prevents the INIT function from being called, if there is one."""
    rules = graph.recording.header.blacklist or ()
    found = (r.words for r in rules if r.by == INITCALL_BLACKLIST and r.what == init)
    return "".join(f": {words}" for words in found)


def _init(graph: Graph, module_name: str) -> str:
    call = graph.inits.get(module_name)
    if call is None:
        return "but what its init returned is not in the recording"
    if call.ret is None:
        return "but its init had not returned"
    if call.result == 0:
        return "and its init returned 0: why it did not register is unknown"
    return f"but its init failed: {failure(call)}"


def autoprobe(graph: Graph, bus: str = "virtio") -> str:
    """Says that autoprobe is off. Empty if it is on or unknown."""
    end = end_state(graph)
    if end is None or end.autoprobe.get(bus) is not False:
        return ""
    return f"; autoprobe is off: /sys/bus/{bus}/drivers_autoprobe was 0 at the end"


def end_state(graph: Graph) -> EndState | None:
    """The machine's state at the end; older and truncated recordings do not have it."""
    trailer = graph.recording.trailer
    return trailer.end_state if trailer is not None else None


def failed(graph: Graph, device: Device, call: Call) -> str:
    """Why CALL, the transport's probe or the registration, failed to register DEVICE."""
    return failure(call) + _innermost(call) + said_of(graph, device)


def said_of(graph: Graph, device: Device) -> str:
    """What the kernel's log says about a DEVICE that has no driver."""
    return _quote(graph.log.get(device.address, []))


def _log(graph: Graph, subject: Binding) -> str:
    """What the kernel's log says about the binding's device. If the device has several bindings,
    only lines from around the time of this one; the log's own clock allows no better."""
    name, address = subject.device.name, subject.device.address
    found = [*graph.log.get(name or "", []), *graph.log.get(address, [])]
    trailer, call = graph.recording.trailer, subject.call
    if not found or trailer is None or trailer.log is None:
        return ""
    if graph.is_only_try(subject):
        return _quote(found)
    behind, start = trailer.log.behind_ns or 0, call.event.ns - _SLACK_NS
    end = (call.ret or call.event).ns + _SLACK_NS
    return _quote(
        [line for line in found if start <= line.ns + behind <= end], " from around that time"
    )


def _quote(lines: list[LogLine], when: str = "") -> str:
    """Quote warnings and worse. "failed with error" comes last: it only repeats the result."""
    grave = [line.text for line in lines if line.level <= _WARNING]
    chosen = list(dict.fromkeys(sorted(grave, key=lambda text: "failed with error" in text)))
    if not chosen:
        return ""
    return f"; the kernel's log{when}: " + ", ".join(f'"{text}"' for text in chosen[:_QUOTED])
