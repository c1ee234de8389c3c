# SPDX-License-Identifier: GPL-2.0-or-later
"""device-restored: a device is frozen at suspend and restored afterwards, and both succeed.

Source: drivers/virtio/virtio.c, virtio_device_freeze and virtio_device_restore.
"""

from __future__ import annotations

from virtio_trace.check.findings import CheckContext
from virtio_trace.graph.attempts import around
from virtio_trace.graph.calls import Call, failure

_FREEZE, _RESTORE = "virtio_device_freeze", "virtio_device_restore"
_STEP = "device-restored"
_UNREGISTER, _FEATURES_OK = "unregister_virtio_device", "virtio_features_ok"

PROBES = (_FREEZE, _RESTORE, _UNREGISTER, _FEATURES_OK)
"""The probe points whose calls this rule reads."""


class Suspends:
    """Freezing and restoring alternate, and both return 0."""

    def __init__(self) -> None:
        self._frozen: dict[str, Call] = {}

    def judge(self, context: CheckContext, call: Call) -> None:
        """Judge the next call of PROBES."""
        ref, probe = call.event.device, call.event.probe
        if ref is None:
            return
        if probe == _FEATURES_OK:
            _refused(context, ref.address, call)
            return
        before = self._frozen.pop(ref.address, None)
        if probe == _UNREGISTER:
            return
        if probe == _FREEZE:
            if before is not None:
                message = "frozen twice without being restored in between"
                context.missing(_STEP, ref.address, message, before, call)
            if call.result not in (0, None):
                context.bad(_STEP, ref.address, failure(call), call)
            else:
                self._frozen[ref.address] = call
            return
        if call.result != 0:
            context.returned(_STEP, ref.address, call)
        if before is None:
            context.missing(_STEP, ref.address, "restored, but not frozen before", call)

    def end(self, context: CheckContext) -> None:
        """Judge what is frozen at the end."""
        for address, call in self._frozen.items():
            context.missing(_STEP, address, "frozen, but not restored", call)


def _refused(context: CheckContext, address: str, call: Call) -> None:
    restore = around(call, _RESTORE)
    if restore is not None and restore.result == 0 and (call.result or 0) < 0:
        message = f"{restore.event.symbol} returned 0, although {failure(call)}"
        context.bad(_STEP, address, message, call, restore)
