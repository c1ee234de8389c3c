# SPDX-License-Identifier: GPL-2.0-or-later
"""Profile linux, transport-probed and device-registered: the transport's part of the procedure.

virtio_pci_probe tries the modern interface first, then the legacy one
(drivers/virtio/virtio_pci_common.c; VirtIO 4.1.5.1.1).
"""

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
    """Note the EMPTY virtio-mmio slots: each looks like a device whose probe failed."""
    if empty:
        slot = "slot has" if len(empty) == 1 else "slots have"
        message = f"{len(empty)} {slot} no device (device ID 0)"
        name = transports.MMIO.driver_name
        context.finding(NOTE, "transport-probed", name, message, empty[0].transport)


def transport_probed(context: CheckContext, subject: Device) -> bool:
    """transport-probed; False if the steps after it are not to be judged."""
    step, call = "transport-probed", subject.transport
    if subject.maybe_empty and not empty_slots.has_log(context.graph):
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
        context.before(step, subject.address, message)
    elif subject.bus not in transports.BY_BUS:
        message = f"no probe point for the transport of devices on bus {subject.bus}"
        context.unknown(step, subject.address, message, subject.register)
    else:
        message = f"{transports.BY_BUS[subject.bus].probe} did not run for the device"
        context.missing(step, subject.address, message, subject.register)
    return True


def device_registered(context: CheckContext, subject: Device) -> bool:
    """device-registered; False if the steps after it are not to be judged."""
    step, call = "device-registered", subject.register
    if call is None:
        if subject.snapshot is not None:
            message = "the device was registered before the recording began"
            context.before(step, subject.address, message)
            return True
        if subject.transport is not None and subject.transport.result is None:
            message = "what the transport's probe returned was not seen"
            context.unknown(step, subject.address, message, subject.transport)
        else:
            message = "the transport's probe did not register the device on the VirtIO bus"
            context.missing(step, subject.address, message, subject.transport)
        return bool(subject.bindings or subject.matches)
    return context.returned(step, subject.address, call)


def _legacy_fallback_ok(context: CheckContext, subject: Device) -> bool:
    """Whether the results of the two interfaces' probes allow virtio_pci_probe to return 0.

    Only -ENODEV from the modern probe makes virtio_pci_probe try the legacy one, which must then
    succeed. With the module parameter force_legacy, the legacy probe is first and the modern one
    last (drivers/virtio/virtio_pci_common.c, since Linux 4.0).
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
    """What is wrong if ``_legacy_fallback_ok`` is False."""
    modern, legacy = subject.modern, subject.legacy
    if modern is None:
        return f"neither {_MODERN} nor {_LEGACY} was called"
    if modern.result == 0:
        return f"{_LEGACY} was called after {failure(modern)}"
    if modern.result == -errno.ENODEV and legacy is None:
        return f"{failure(modern)}, and {_LEGACY} was not called"
    return failure(modern)


def note_legacy_fallback(context: CheckContext, subject: Device) -> None:
    """Note a device that was bound through the legacy interface, virtio_pci_probe's second try."""
    modern, legacy = subject.modern, subject.legacy
    if modern is None or legacy is None or legacy.result != 0 or modern.result != -errno.ENODEV:
        return
    message = f"a legacy device: {failure(modern)}, then the legacy interface was taken"
    context.finding(NOTE, "transport-probed", subject.address, message, modern, legacy)


def note_intx_fallback(context: CheckContext, binding: Binding) -> None:
    """Note a device that was bound without MSI-X: vp_find_vqs falls back to INTx
    (drivers/virtio/virtio_pci_common.c)."""
    found = binding.negotiation
    if found.interrupts == INTX:
        failed = [call for call in found.msix if call.inside(found.find_vqs[-1])]
        said = ", ".join(dict.fromkeys(failure(call) for call in failed))
        message = f"no MSI-X: {said}; its virtqueues share the INTx interrupt"
        context.finding(NOTE, "bus-probed", binding.device.address, message, *failed)
