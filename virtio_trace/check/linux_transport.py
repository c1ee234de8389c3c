# SPDX-License-Identifier: GPL-2.0-or-later
"""The two interfaces of a PCI device: the modern one is tried first, the legacy one after it
(drivers/virtio/virtio_pci_common.c: virtio_pci_probe; VirtIO 4.1.5.1.1)."""

from __future__ import annotations

import errno

from virtio_trace.check.findings import NOTE, CheckContext
from virtio_trace.graph.calls import Call, failure
from virtio_trace.graph.model import Device

_MODERN, _LEGACY = "virtio_pci_modern_probe", "virtio_pci_legacy_probe"


def legacy_fallback_ok(context: CheckContext, subject: Device) -> bool:
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


def unmade(subject: Device) -> str:
    """What is wrong where :func:`legacy_fallback_ok` says no."""
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
