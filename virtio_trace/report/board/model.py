# SPDX-License-Identifier: GPL-2.0-or-later
"""A board as data: what virtio devices a machine is expected to have."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase

from virtio_trace.report.state import BOUND


@dataclass(frozen=True, slots=True)
class Expected:
    """A ``[[device]]``: the device at ``address``, or ``count`` devices of ``type``. ``features``
    must be negotiated, those in ``without`` must not. ``queues`` and ``vectors`` are at least,
    ``probe_ms``, in milliseconds, is at most. ``optional``: it need not be there. None is not
    checked."""

    address: str | None = None
    type: str | None = None
    count: int = 1
    driver: str | None = None
    transport: str | None = None
    state: str = BOUND
    features: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    queues: int | None = None
    vectors: int | None = None
    probe_ms: float | None = None
    optional: bool = False

    @property
    def subject(self) -> str:
        """What a finding about it is about if no device is there."""
        return self.address or self.type or "?"


@dataclass(frozen=True, slots=True)
class Board:
    """What is expected. ``only``: no other virtio device may be there. ``kernel`` has patterns for
    the kernel's release, of which one must match (fnmatch); empty: any release."""

    devices: tuple[Expected, ...] = ()
    only: bool = False
    kernel: tuple[str, ...] = ()

    def has_kernel(self, release: str) -> bool:
        """Whether RELEASE matches."""
        return not self.kernel or any(fnmatchcase(release, pattern) for pattern in self.kernel)
