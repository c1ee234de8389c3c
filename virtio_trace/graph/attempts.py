# SPDX-License-Identifier: GPL-2.0-or-later
"""Splits a device's history into attempts to initialise it (VirtIO 3.1.1).

An attempt begins with a reset. It also begins when the bus calls a driver's probe and the device
was not reset since the last attempt; check/spec_rules.py judges the missing reset.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from virtio_trace.graph.calls import Call
from virtio_trace.graph.model import Device
from virtio_trace.virtio.numbers import Status

STEP_BITS = Status.DRIVER | Status.FEATURES_OK | Status.DRIVER_OK
"""The status bits of the steps after ACKNOWLEDGE."""

_BIND = "virtio_dev_probe"
_RESTORE = "virtio_device_restore"


@dataclass(frozen=True, slots=True)
class Write:
    """A write of the device status; ``before`` is the previous write's value, None if unseen."""

    call: Call
    value: int
    before: int | None

    @property
    def new(self) -> int:
        """The bits that it sets and the previous write did not."""
        return self.value & ~(self.before or 0)

    @property
    def seq(self) -> int:
        """Its event's sequence number."""
        return self.call.event.seq

    @property
    def features(self) -> int | None:
        """The features negotiated when it was written, as bits; None is unknown."""
        return _features(self.call)


@dataclass(slots=True, eq=False)
class Attempt:
    """One attempt to initialise DEVICE.

    ``reset`` is the reset that it began with, or None; ``before`` is the status that
    it began with: 0 after a reset, None if unseen. ``bind`` and ``restore`` are the calls of
    virtio_dev_probe and virtio_device_restore that made it. ``ends``: no other attempt of that call
    follows. ``known`` are the features that the device offered in an earlier attempt. ``unsure`` is
    a status write since the last reset whose value is unknown.
    """

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
        """The call whose result is that of the attempt. virtio_device_restore counts only if the
        attempt took a step that needs a driver: without one, it restores nothing."""
        if self.bind is None and self.setting(STEP_BITS) is not None:
            return self.restore
        return self.bind

    @property
    def begun(self) -> bool:
        """Whether it got beyond its first two steps, reset and ACKNOWLEDGE."""
        beyond = any(write.value & ~Status.ACKNOWLEDGE.value for write in self.writes)
        return beyond or self.bind is not None or bool(self.setups)

    @property
    def initialises(self) -> bool:
        """False for a reset followed by nothing, or only by FAILED: it ends something else."""
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
        """Whether it sets DRIVER on top of FAILED, as Linux does when it binds again after a failed
        probe."""
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
        """Whether it began with FEATURES_OK or DRIVER_OK still set beside FAILED (Linux's
        virtio_blk leaves 0x8b): it is then unknown which of its writes set them again."""
        return self.on_failed and bool(
            self.writes[0].value & (Status.FEATURES_OK | Status.DRIVER_OK)
        )

    @property
    def partial(self) -> bool:
        """Whether it began before the recording, which has only its end. The snapshot is taken when
        all probe points are armed; it shows a device past step 2, or one that has a driver."""
        snapshot = self.device.snapshot
        if not self.unseen or snapshot is None or self.on_failed:
            return False
        past_step_2 = snapshot.status is not None and bool(snapshot.status & STEP_BITS)
        return past_step_2 or bool(snapshot.driver) or self.bind is None

    @property
    def offered(self) -> int | None:
        """The features that the device offers, as bits; None if they were not read."""
        return _features(self.reads[0]) if self.reads else self.known

    @property
    def legacy(self) -> bool:
        """Whether the device is used through the legacy interface (2.2.3)."""
        return self.offered is not None and not self.offered >> 32 & 1

    @property
    def sets_up(self) -> Call | None:
        """The first call of steps 7 and 8: a virtqueue, or DRIVER_OK."""
        return _first(self.setups[0] if self.setups else None, self.setting(Status.DRIVER_OK))

    @property
    def first_later_step(self) -> Call | None:
        """The first call of steps 5, 7 and 8."""
        return _first(self.sets_up, self.setting(Status.FEATURES_OK))

    def setting(self, bit: int) -> Write | None:
        """The first write with any bit of BIT."""
        return next((write for write in self.writes if write.value & bit), None)

    def refused(self) -> bool:
        """Whether FEATURES_OK may have been clear when it was read again (virtio_features_ok
        returned an error, or its result is unknown)."""
        return any(call.result is None or call.result < 0 for call in self.taken)


def split(device: Device) -> list[Attempt]:
    """The attempts to initialise DEVICE, in order."""
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
            # debugfs reads them too (drivers/virtio/virtio_debug.c), outside of initialisation
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
    """The status that CALL wrote, None if unknown. A reset writes 0, whatever was fetched."""
    if call.event.probe == "reset":
        return 0
    return call.event.detail.status if call.event.detail is not None else None


def around(call: Call, probe: str) -> Call | None:
    """The innermost call of the probe point PROBE that CALL ran inside, or None."""
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
