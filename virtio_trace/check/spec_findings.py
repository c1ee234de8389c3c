# SPDX-License-Identifier: GPL-2.0-or-later
"""Where the rules of profile spec write: the context, for one device, and what is proof for it."""

from __future__ import annotations

from virtio_trace.check import coverage
from virtio_trace.check.findings import NOTE, CheckContext
from virtio_trace.graph.calls import Call
from virtio_trace.graph.model import Device
from virtio_trace.recording.probe_state import ARMED
from virtio_trace.virtio import transports


class DeviceContext:
    """One device's part of the context. ``unsure``: a write of the status that may make right what
    seems wrong, as what was written is unknown."""

    def __init__(self, check: CheckContext, device: Device) -> None:
        self.check = check
        self.device = device
        self.unsure: Call | None = None

    @property
    def steps(self) -> tuple[str, ...]:
        """The ids of all steps."""
        return tuple(self.check.probes)

    def good(self, step: str) -> None:
        """The step was taken as it should be."""
        self.check.good(step, self.device.address)

    def wrong(self, step: str, message: str, *calls: Call | None) -> None:
        """It was not. Each rule is about an order of events: where one that is not there could
        make it right, that is unknown."""
        if self.proves(step):
            self.check.bad(step, self.device.address, message, *calls)
        else:
            self.unknown(step, f"{message}, or not all of it was seen", *calls)

    def unknown(self, step: str, message: str, *calls: Call | None) -> None:
        """It was not seen, and could not have been seen."""
        self.check.unknown(step, self.device.address, message, *calls)

    def note(self, step: str, message: str, *calls: Call | None) -> None:
        """What is known and turns no verdict."""
        self.check.finding(NOTE, step, self.device.address, message, *calls)

    def proves(self, step: str) -> bool:
        """Whether the recording has every event of the step's probe points for this device: each
        of its transport's functions, and of the core's, is armed, and no hit was missed. A call
        that had not returned is no doubt: what is wrong is what an event shows, and not to come."""
        return (
            self.check.kept
            and self.unsure is None
            and all(map(self._sees, self.check.probes[step]))
        )

    def _sees(self, probe: str) -> bool:
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
