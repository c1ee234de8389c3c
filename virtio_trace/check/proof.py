# SPDX-License-Identifier: GPL-2.0-or-later
"""What a recording can prove: a missing event is proof only if it would have been recorded."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from virtio_trace.check import coverage, recording_rules
from virtio_trace.check.profiles import LINUX, PROFILES
from virtio_trace.check.scope import EVERYTHING, Scope
from virtio_trace.graph.model import Graph
from virtio_trace.recording.probe_state import ARMED
from virtio_trace.recording.source import Source
from virtio_trace.recording.trailer import Trailer
from virtio_trace.virtio.transports import TRANSPORTS


@dataclass(frozen=True, slots=True)
class Known:
    """What only the whole recording tells, and every judgement depends on.

    ``trailer`` is the recording's, ``whole``: it has every event. ``running``: a call had not
    returned, so it may still do what was not seen. ``unnoticed``: an event is missing, but not
    counted as lost. ``blind`` are probe points whose events do not show every call. ``unused`` are
    the probes of transports that no device has and that the recording does not list.
    """

    trailer: Trailer | None
    whole: bool
    running: bool
    unnoticed: bool
    blind: frozenset[tuple[str | None, str | None]]
    unused: frozenset[str]


def assumed(recording: Source) -> Known:
    """What is true of most recordings: nothing is missing but what the trailer says."""
    return Known(
        recording.trailer, recording.is_whole, False, False, frozenset(), _unlisted(recording)
    )


def found(graph: Graph, profile: str, scope: Scope = EVERYTHING) -> Known:
    """What is true of the recording of GRAPH, as far as it may concern SCOPE."""
    recording = graph.recording
    return Known(
        recording.trailer,
        recording.is_whole,
        any(scope.is_about(call.event) for call in graph.open_calls),
        recording_rules.lost_unnoticed(graph, profile),
        frozenset(recording_rules.blind(graph)),
        frozenset(
            one.probe
            for one in TRANSPORTS
            if one.bus not in graph.buses and one.probe in _unlisted(recording)
        ),
    )


def _unlisted(recording: Source) -> frozenset[str]:
    """The probes of transports that RECORDING does not list: it may be older than what is known of
    them."""
    points = {state.probe for state in recording.probes}
    return frozenset(one.probe for one in TRANSPORTS if one.probe not in points)


class Proof:
    """What the recording of GRAPH can prove about the steps of PROFILE.

    ``probes`` maps a step to its probe points. ``running``: see Known. ``kept``: no event was lost
    on the way into the file. ``at_end`` has the devices in sysfs at the end, by address. KNOWN is
    that of GRAPH by default.
    """

    def __init__(self, graph: Graph, profile: str = LINUX, known: Known | None = None) -> None:
        self.graph = graph
        self.profile = profile
        self.known = known or found(graph, profile)
        self.probes = {step.id: step.probes for step in PROFILES[profile]}
        recording = graph.recording
        self.running = self.known.running
        self.kept = self.known.whole and not self.known.unnoticed
        self._whole = self.kept and not self.running
        unseen = {(p.probe, p.function) for p in coverage.blind(recording)}
        self._blind = unseen | self.known.blind
        self._armed_at = {(p.probe, p.function) for p in recording.probes if p.state == ARMED}
        self._armed_probes = {probe for probe, _ in self._armed_at}
        self._points = {p.probe for p in recording.probes}
        trailer = recording.trailer
        end = trailer.end_state.devices if trailer and trailer.end_state else ()
        self.at_end = {device.address: device for device in reversed(end)}
        self._sure: dict[tuple[Collection[str], str | None], bool] = {}

    def sees(self, step: str, function: str | None = None) -> bool:
        """Whether missing events of the step prove that it did not happen."""
        return self._whole and self._armed(self.probes[step], function)

    def sees_all(self, *probes: str) -> bool:
        """Whether all events of these probe points were recorded."""
        return self._whole and self._armed_probes.issuperset(probes) and self._armed(probes, None)

    def _armed(self, probes: tuple[str, ...], function: str | None) -> bool:
        key = probes, function
        if key not in self._sure:
            self._sure[key] = self._is_armed(probes, function)
        return self._sure[key]

    def _is_armed(self, probes: Collection[str], function: str | None) -> bool:
        """Whether all PROBES are listed and none is blind; with FUNCTION, whether it is armed and
        not blind. A transport that no device has need not be listed."""
        if function is not None:
            if not any((probe, function) in self._armed_at for probe in probes):
                return False
        elif not self._points.issuperset({*probes} - self.known.unused):
            return False
        return not any(
            probe in probes and (function is None or name == function)
            for probe, name in self._blind
        )
