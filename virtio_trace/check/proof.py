# SPDX-License-Identifier: GPL-2.0-or-later
"""What a recording can prove: a missing event is proof only if it would have been recorded."""

from __future__ import annotations

from collections.abc import Collection

from virtio_trace.check import coverage, recording_rules
from virtio_trace.check.profiles import LINUX, PROFILES
from virtio_trace.graph.model import Graph
from virtio_trace.recording.probe_state import ARMED
from virtio_trace.virtio.transports import TRANSPORTS


class Proof:
    """What the recording of GRAPH can prove about the steps of PROFILE.

    ``probes`` maps a step to its probe points. ``running``: a call had not returned, so it may
    still do what was not seen. ``kept``: no event was lost on the way into the file.
    """

    def __init__(self, graph: Graph, profile: str = LINUX) -> None:
        self.graph = graph
        self.probes = {step.id: step.probes for step in PROFILES[profile]}
        recording = graph.recording
        self.running = any(call.ret is None for call in graph.calls)
        self.kept = (
            recording.trailer is not None
            and recording.lost == 0
            and not recording_rules.lost_unnoticed(graph, profile)
        )
        self._whole = self.kept and not self.running
        unseen = {(p.probe, p.function) for p in coverage.blind(recording)}
        self._blind = unseen | recording_rules.blind(graph)
        self._armed_at = {(p.probe, p.function) for p in recording.probes if p.state == ARMED}
        self._armed_probes = {probe for probe, _ in self._armed_at}
        self._points = {p.probe for p in recording.probes}
        # A recording may be older than what is known of a transport that none of its devices has.
        buses = {device.bus for device in graph.devices}
        self._unused = {one.probe for one in TRANSPORTS if one.bus not in buses}

    def sees(self, step: str, function: str | None = None) -> bool:
        """Whether missing events of the step prove that it did not happen."""
        return self._whole and self._armed(self.probes[step], function)

    def sees_all(self, *probes: str) -> bool:
        """Whether all events of these probe points were recorded."""
        return self._whole and self._armed_probes.issuperset(probes) and self._armed(probes, None)

    def _armed(self, probes: Collection[str], function: str | None) -> bool:
        """Whether all PROBES are listed and none is blind; with FUNCTION, whether it is armed and
        not blind. A transport that no device has need not be listed."""
        if function is not None:
            if not any((probe, function) in self._armed_at for probe in probes):
                return False
        elif not self._points.issuperset({*probes} - self._unused):
            return False
        return not any(
            probe in probes and (function is None or name == function)
            for probe, name in self._blind
        )
