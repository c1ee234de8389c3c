# SPDX-License-Identifier: GPL-2.0-or-later
"""Collects findings of profile spec for one device, and decides what is proof for it."""

from __future__ import annotations

from virtio_trace.check import coverage, spec_steps
from virtio_trace.check.findings import NOTE, CheckContext
from virtio_trace.graph.calls import Call
from virtio_trace.graph.model import Device
from virtio_trace.recording.probe_state import ARMED
from virtio_trace.virtio import transports


class DeviceContext:
    """The context for one device. ``bindings`` are its bindings by their calls. ``unsure``: a
    status write of an unknown value, which may make right what seems wrong."""

    def __init__(self, check: CheckContext, device: Device) -> None:
        self.check = check
        self.device = device
        self.bindings = {binding.call: binding for binding in device.bindings}
        self.unsure: Call | None = None

    @property
    def steps(self) -> tuple[str, ...]:
        """The ids of all steps of the procedure."""
        return tuple(step.id for step in spec_steps.STEPS)

    def good(self, step: str) -> None:
        """The step was taken correctly."""
        self.check.good(step, self.device.address)

    def wrong(self, step: str, message: str, *calls: Call | None) -> None:
        """The step was wrong, or unknown if a missing event could make it right: each rule is about
        the order of events."""
        if self.proves(step):
            self.check.bad(step, self.device.address, message, *calls)
        else:
            self.unknown(step, f"{message}, or not every event was seen", *calls)

    def unknown(self, step: str, message: str, *calls: Call | None) -> None:
        """The recording cannot tell whether the step was taken."""
        self.check.unknown(step, self.device.address, message, *calls)

    def before(self, step: str, message: str) -> None:
        """The step was taken before the recording, if it was."""
        self.check.before(step, self.device.address, message)

    def note(self, step: str, message: str, *calls: Call | None) -> None:
        """Add a note, which does not change the verdict."""
        self.check.finding(NOTE, step, self.device.address, message, *calls)

    def proves(self, step: str) -> bool:
        """Whether the recording has every event of the step's probe points for this device: all
        functions of its transport and of the core were armed, and no hit was missed. A call that
        had not returned does not matter: an event already shows what is wrong."""
        return (
            self.check.kept
            and self.unsure is None
            and all(map(self._sees, self.check.probes[step]))
        )

    def _sees(self, probe: str) -> bool:
        known, key = self.check.seen, (self.device.bus, probe)
        if key not in known:
            known[key] = self._all_seen(probe)
        return known[key]

    def _all_seen(self, probe: str) -> bool:
        prefix = ""
        if probe in transports.CONFIG_OPS:
            if self.device.bus not in transports.BY_BUS:
                return False
            prefix = transports.BY_BUS[self.device.bus].prefix
        states = [
            state
            for state in self.check.graph.recording.probes
            if state.probe == probe and (state.function or "").startswith(prefix)
        ]
        header = self.check.graph.recording.header
        return bool(states) and all(
            state.state == ARMED and not state.missed and not coverage.is_late(header, state)
            for state in states
        )
