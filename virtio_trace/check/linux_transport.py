# SPDX-License-Identifier: GPL-2.0-or-later
"""The two interfaces of a PCI device: the modern one is tried first, the legacy one after it
(drivers/virtio/virtio_pci_common.c: virtio_pci_probe; VirtIO 4.1.5.1.1)."""

from __future__ import annotations

import errno

from virtio_trace.check import diagnosis, empty_slots
from virtio_trace.check.findings import NOTE, CheckContext
from virtio_trace.graph.calls import Call, failure
from virtio_trace.graph.model import Binding, Device
from virtio_trace.graph.negotiation import INTX
from virtio_trace.virtio import transports

_MODERN, _LEGACY = "virtio_pci_modern_probe", "virtio_pci_legacy_probe"


def note_empty_slots(context: CheckContext, empty: list[Device]) -> None:
    """What is no device, and looks like one that failed."""
    if empty:
        slot = "slot has" if len(empty) == 1 else "slots have"
        message = f"{len(empty)} {slot} no device (device ID 0)"
        name = transports.MMIO.driver_name
        context.finding(NOTE, "transport-probed", name, message, empty[0].transport)


def transport_probed(context: CheckContext, subject: Device) -> bool:
    step, call = "transport-probed", subject.transport
    if empty_slots.maybe_empty(subject) and not empty_slots.has_log(context.graph):
        context.unknown(step, subject.address, empty_slots.UNKNOWN, call)
        return False
    if call is not None and call.result not in (0, None):
        context.bad(step, subject.address, diagnosis.failed(context.graph, subject, call), call)
        return False
    of_pci = call is not None and call.event.probe == transports.BY_BUS["pci"].probe
    if (
        call is not None
        and of_pci
        and call.result == 0
        and not _legacy_fallback_ok(context, subject)
    ):
        message = f"{call.event.symbol} returned 0, although {_unmade(subject)}"
        context.bad(step, subject.address, message, call, subject.modern, subject.legacy)
        return True
    if call is not None:
        return context.returned(step, subject.address, call)
    if subject.snapshot is not None:
        message = "the device was on the bus before the recording began"
        context.unknown(step, subject.address, message)
    elif subject.bus not in transports.BY_BUS:
        message = f"no probe point for the transport of devices on bus {subject.bus}"
        context.unknown(step, subject.address, message, subject.register)
    else:
        message = f"no {transports.BY_BUS[subject.bus].probe} ran for the device"
        context.missing(step, subject.address, message, subject.register)
    return True


def device_registered(context: CheckContext, subject: Device) -> bool:
    step, call = "device-registered", subject.register
    if call is None:
        if subject.snapshot is not None:
            message = "the device was registered before the recording began"
            context.unknown(step, subject.address, message)
            return True
        if subject.transport is not None and subject.transport.ret is None:
            message = "the transport's probe had not returned when the recording ended"
            context.unknown(step, subject.address, message, subject.transport)
        else:
            message = "the transport's probe did not put the device on the VirtIO bus"
            context.missing(step, subject.address, message, subject.transport)
        return bool(subject.bindings or subject.matches)
    return context.returned(step, subject.address, call)


def _legacy_fallback_ok(context: CheckContext, subject: Device) -> bool:
    """Whether what the two interfaces' probes returned leads to a virtio_pci_probe that returns 0.

    Only -ENODEV leads on to the legacy interface, and that has to take the device then; with the
    parameter force_legacy the modern one is the second try, and the last
    (drivers/virtio/virtio_pci_common.c, since Linux 4.0).
    """
    modern, legacy = subject.modern, subject.legacy
    if modern is None and legacy is None:
        return not context.sees_all(_MODERN, _LEGACY)
    if modern is not None and modern.result == 0 and _tried_after(legacy, modern):
        return False
    if modern is None or not modern.result or not modern.inside(subject.transport):
        return True
    if modern.result != -errno.ENODEV:
        return False
    return not context.sees_all(_LEGACY) if legacy is None else not legacy.result


def _tried_after(legacy: Call | None, modern: Call) -> bool:
    return legacy is not None and legacy.event.seq > modern.event.seq


def _unmade(subject: Device) -> str:
    """What is wrong where ``_legacy_fallback_ok`` says no."""
    modern, legacy = subject.modern, subject.legacy
    if modern is None:
        return f"neither {_MODERN} nor {_LEGACY} was called"
    if modern.result == 0:
        return f"{_LEGACY} was called after {failure(modern)}"
    if modern.result == -errno.ENODEV and legacy is None:
        return f"{failure(modern)}, and {_LEGACY} was not called"
    return failure(modern)


def note_legacy_fallback(context: CheckContext, subject: Device) -> None:
    """Bound all the same: VirtIO 2.1's legacy interface, by virtio_pci_probe's second try."""
    modern, legacy = subject.modern, subject.legacy
    if modern is None or legacy is None or legacy.result != 0 or modern.result != -errno.ENODEV:
        return
    message = f"a legacy device: {failure(modern)}, and then the legacy interface was taken"
    context.finding(NOTE, "transport-probed", subject.address, message, modern, legacy)


def note_intx_fallback(context: CheckContext, binding: Binding) -> None:
    """Bound all the same: vp_find_vqs falls back from MSI-X to INTx (virtio_pci_common.c)."""
    found = binding.negotiation
    if found.interrupts == INTX:
        failed = [call for call in found.msix if call.inside(found.find_vqs[-1])]
        said = ", ".join(dict.fromkeys(failure(call) for call in failed))
        message = f"no MSI-X: {said}; its virtqueues share the INTx interrupt"
        context.finding(NOTE, "bus-probed", binding.device.address, message, *failed)
