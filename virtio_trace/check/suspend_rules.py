# SPDX-License-Identifier: GPL-2.0-or-later
"""device-restored: a device is frozen at suspend and restored afterwards, and both succeed.

Source: drivers/virtio/virtio.c, virtio_device_freeze and virtio_device_restore.
"""

from __future__ import annotations

from virtio_trace.check.findings import CheckContext
from virtio_trace.graph.attempts import around
from virtio_trace.graph.calls import Call, failure

_FREEZE, _RESTORE = "virtio_device_freeze", "virtio_device_restore"
_UNREGISTER, _FEATURES_OK = "unregister_virtio_device", "virtio_features_ok"

PROBES = (_FREEZE, _RESTORE, _UNREGISTER, _FEATURES_OK)
"""The probe points whose calls this rule reads."""


def check(context: CheckContext, calls: list[Call]) -> None:
    """Freezing and restoring alternate, and both return 0. CALLS are those of PROBES."""
    step = "device-restored"
    frozen: dict[str, Call] = {}
    for call in calls:
        ref, probe = call.event.device, call.event.probe
        if ref is None:
            continue
        if probe == _FEATURES_OK:
            restore = around(call, _RESTORE)
            if restore is not None and restore.result == 0 and (call.result or 0) < 0:
                message = f"{restore.event.symbol} returned 0, although {failure(call)}"
                context.bad(step, ref.address, message, call, restore)
            continue
        before = frozen.pop(ref.address, None)
        if probe == _UNREGISTER:
            continue
        if probe == _FREEZE:
            if before is not None:
                message = "frozen twice without being restored in between"
                context.missing(step, ref.address, message, before, call)
            if call.result not in (0, None):
                context.bad(step, ref.address, failure(call), call)
            else:
                frozen[ref.address] = call
            continue
        if call.result != 0:
            context.returned(step, ref.address, call)
        if before is None:
            context.missing(step, ref.address, "restored, but not frozen before", call)
    for address, call in frozen.items():
        context.missing(step, address, "frozen, but not restored", call)
