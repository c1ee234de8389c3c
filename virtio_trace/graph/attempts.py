# SPDX-License-Identifier: GPL-2.0-or-later
"""What a device went through, cut into attempts to initialise it (VirtIO 3.1.1).

An attempt begins with a reset. It also begins where the bus calls a driver's probe and the device
was not reset since the last attempt; that it was not is for spec_rules.py to judge.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from virtio_trace.graph.calls import Call
from virtio_trace.graph.model import Device
from virtio_trace.virtio.numbers import Status

STEP_BITS = Status.DRIVER | Status.FEATURES_OK | Status.DRIVER_OK
"""Those that say which of the steps behind ACKNOWLEDGE are complete."""

_BIND = "virtio_dev_probe"
_RESTORE = "virtio_device_restore"


@dataclass(frozen=True, slots=True)
class Write:
    """A write of the device status; ``before`` is what was written last, None where unseen."""

    call: Call
    value: int
    before: int | None

    @property
    def new(self) -> int:
        """The bits that it sets."""
        return self.value & ~(self.before or 0)

    @property
    def seq(self) -> int:
        """Its event's sequence number."""
        return self.call.event.seq

    @property
    def features(self) -> int | None:
        """What was agreed on when it was written."""
        return _features(self.call)


@dataclass(slots=True, eq=False)
class Attempt:
    """One attempt: ``before`` is the status from which it began without a reset (0 with one, None
    unseen); ``bind`` the call of virtio_dev_probe, ``restore`` that of virtio_device_restore that
    it is of; ``ends`` that no other one of that call follows. ``known`` are the features that the
    device offered in an earlier attempt. ``unsure``: a write since the last reset of which what was
    written is unknown."""

    device: Device
    reset: Call | None
    before: int | None
    first: bool
    known: int | None = None
    unsure: Call | None = None
    bind: Call | None = None
    restore: Call | None = None
    ends: bool = True
    writes: list[Write] = field(default_factory=list)
    reads: list[Call] = field(default_factory=list)
    taken: list[Call] = field(default_factory=list)
    found: list[Call] = field(default_factory=list)
    setups: list[Call] = field(default_factory=list)

    @property
    def outer(self) -> Call | None:
        """The call whose success is that of the attempt; restoring needs a driver to restore."""
        if self.bind is None and self.setting(STEP_BITS) is not None:
            return self.restore
        return self.bind

    @property
    def begun(self) -> bool:
        """Whether more than its first two steps was taken."""
        beyond = any(write.value & ~Status.ACKNOWLEDGE.value for write in self.writes)
        return beyond or self.bind is not None or bool(self.setups)

    @property
    def initialises(self) -> bool:
        """False for a reset that nothing, or only FAILED, follows: the end of something else."""
        if (
            any(write.value & ~Status.FAILED.value for write in self.writes)
            or self.reads
            or self.setups
        ):
            return True
        own = self.reset is None or self.bind is None or not self.reset.inside(self.bind)
        return self.bind is not None and own

    @property
    def unseen(self) -> bool:
        """Whether its first steps may have been taken before the recording began."""
        return self.reset is None and self.first and self.device.snapshot is not None

    @property
    def on_failed(self) -> bool:
        """Linux's way to bind anew after a probe that failed: DRIVER set with FAILED there."""
        if self.reset is not None or self.bind is None or not self.writes:
            return False
        first = self.writes[0]
        seen = self.before if self.before is not None else Status.FAILED if self.unseen else 0
        only = self.before is None or first.value == self.before | Status.DRIVER
        return (
            bool(first.value & seen & Status.FAILED) and bool(first.value & Status.DRIVER) and only
        )

    @property
    def ambiguous(self) -> bool:
        """Built on FAILED with more than DRIVER there (Linux's virtio_blk leaves 0x8b): which of
        its writes set FEATURES_OK and DRIVER_OK anew cannot be told."""
        return self.on_failed and bool(
            self.writes[0].value & (Status.FEATURES_OK | Status.DRIVER_OK)
        )

    @property
    def partial(self) -> bool:
        """Begun before the recording, which has only its end: the snapshot is taken when all probe
        points are armed, and shows a device behind step 2, or one that has a driver."""
        snapshot = self.device.snapshot
        if not self.unseen or snapshot is None or self.on_failed:
            return False
        behind = snapshot.status is not None and bool(snapshot.status & STEP_BITS)
        return behind or bool(snapshot.driver) or self.bind is None

    @property
    def offered(self) -> int | None:
        """The features that the device offers, as far as they were read."""
        return _features(self.reads[0]) if self.reads else self.known

    @property
    def legacy(self) -> bool:
        """Whether the device is used through the legacy interface (2.2.3)."""
        return self.offered is not None and not self.offered >> 32 & 1

    @property
    def sets_up(self) -> Call | None:
        """What comes first of the steps 7 and 8: a virtqueue, or DRIVER_OK."""
        return _first(self.setups[0] if self.setups else None, self.setting(Status.DRIVER_OK))

    @property
    def first_later_step(self) -> Call | None:
        """What comes first of the steps 5, 7 and 8."""
        return _first(self.sets_up, self.setting(Status.FEATURES_OK))

    def setting(self, bit: int) -> Write | None:
        """The first write with BIT."""
        return next((write for write in self.writes if write.value & bit), None)

    def refused(self) -> bool:
        """Whether FEATURES_OK may have been gone when it was read again."""
        return any(call.result is None or call.result < 0 for call in self.taken)


def split(device: Device) -> list[Attempt]:
    """The attempts at DEVICE in their order."""
    cutter = _Cutter(device)
    for call in device.init_calls:
        cutter.take(call)
    for attempt, after in zip(cutter.attempts, cutter.attempts[1:], strict=False):
        attempt.ends = attempt.outer is None or attempt.outer is not after.outer
    return cutter.attempts


class _Cutter:
    def __init__(self, device: Device) -> None:
        self.device = device
        self.attempts: list[Attempt] = []
        self.status: int | None = None
        self.unsure: Call | None = None
        self.bind: Call | None = None

    def take(self, call: Call) -> None:
        probe = call.event.probe
        if probe == _BIND:
            self.bind = call
            now = self._now()
            if now.begun:
                now = self._new(None)
            now.bind = call
        elif probe == "get_features":
            # debugfs reads them as well (drivers/virtio/virtio_debug.c): that initialises nothing
            if self._is_initialising(call):
                self._now().reads.append(call)
        elif probe == "virtio_features_ok":
            self._now().taken.append(call)
        elif probe == "find_vqs":
            self._now().found.append(call)
        elif probe in ("setup_vq", "vring_create_virtqueue"):
            self._now().setups.append(call)
        else:
            self._write(call)

    def _write(self, call: Call) -> None:
        value = status_of(call)
        if value is None:
            self.unsure = self._now().unsure = call
        elif value == 0:
            self.unsure = None
            now = self._new(call)
            now.restore = around(call, _RESTORE)
            if self.bind is not None and call.inside(self.bind):
                now.bind = self.bind
        else:
            self._now().writes.append(Write(call, value, self.status))
        self.status = value

    def _now(self) -> Attempt:
        return self.attempts[-1] if self.attempts else self._new(None)

    def _new(self, reset: Call | None) -> Attempt:
        last = self.attempts[-1] if self.attempts else None
        known = last.offered if last is not None else None
        before = 0 if reset is not None else self.status
        attempt = Attempt(self.device, reset, before, last is None, known, self.unsure)
        self.attempts.append(attempt)
        if reset is not None:
            self.status = 0
        return attempt

    def _is_initialising(self, call: Call) -> bool:
        return (self.bind is not None and call.inside(self.bind)) or around(
            call, _RESTORE
        ) is not None


def status_of(call: Call) -> int | None:
    """The status that CALL wrote; a reset writes 0, whatever was fetched of it."""
    if call.event.probe == "reset":
        return 0
    return call.event.detail.status if call.event.detail is not None else None


def around(call: Call, probe: str) -> Call | None:
    """The call of the probe point PROBE that CALL ran inside of."""
    outer = call.parent
    while outer is not None and outer.event.probe != probe:
        outer = outer.parent
    return outer


def _first(call: Call | None, write: Write | None) -> Call | None:
    if call is None or write is None:
        return write.call if write is not None else call
    return call if call.event.seq < write.seq else write.call


def _features(call: Call) -> int | None:
    detail = call.event.detail
    return None if detail is None or detail.features is None else int(detail.features, 16)
