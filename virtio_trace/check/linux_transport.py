# SPDX-License-Identifier: GPL-2.0-or-later
"""The two interfaces of a PCI device: the modern one is tried first, the legacy one after it
(drivers/virtio/virtio_pci_common.c: virtio_pci_probe; VirtIO 4.1.5.1.1)."""

from __future__ import annotations

import errno

from virtio_trace.check.findings import NOTE, CheckContext
from virtio_trace.graph.calls import failure
from virtio_trace.graph.model import Device


def legacy_fallback_ok(subject: Device) -> bool:
    """Whether what the modern probe returned may be followed by a virtio_pci_probe that returns 0.

    Only -ENODEV leads on to the legacy interface; with the parameter force_legacy the modern one is
    the second try, and the last(drivers/virtio/virtio_pci_common.c, since Linux 4.0).
    """
    modern, legacy = subject.modern, subject.legacy
    if modern is None or not modern.result or not modern.inside(subject.transport):
        return True
    return modern.result == -errno.ENODEV and (legacy is None or not legacy.result)


def note_legacy_fallback(context: CheckContext, subject: Device) -> None:
    """Bound all the same: VirtIO 2.1's legacy interface, by virtio_pci_probe's second try."""
    modern, legacy = subject.modern, subject.legacy
    if modern is None or legacy is None or legacy.result != 0 or modern.result != -errno.ENODEV:
        return
    message = f"a legacy device: {failure(modern)}, and then the legacy interface was taken"
    context.finding(NOTE, "transport-probed", subject.address, message, modern, legacy)
