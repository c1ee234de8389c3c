# SPDX-License-Identifier: GPL-2.0-or-later
"""The part of the builder that collects status, features and virtqueues of devices and bindings."""

from __future__ import annotations

from collections.abc import Callable

from virtio_trace.graph.calls import Call
from virtio_trace.graph.model import Binding, Device
from virtio_trace.graph.negotiation import Negotiation
from virtio_trace.recording.events import Event

_WRITES = {"set_status", "reset"}
_STEPS = _WRITES | {"get_features"}
"""Hits that are initialisation steps even if the values they show could not be fetched."""


class NegotiationBuilder:
    """Adds calls and hits to a device's ``init_calls`` and to the negotiation of its last binding.

    DEVICE_OF returns the device that a call is about.
    """

    def __init__(self, device_of: Callable[[Call], Device | None]) -> None:
        self._device_of = device_of
        self._tables: dict[str, Event] = {}
        self.handlers: dict[str | None, Callable[[Call], None]] = {
            "driver_validate": self._validate,
            "virtio_features_ok": self._features_ok,
            "find_vqs": self._find_vqs,
            "find_vqs_msix": self._msix,
            "setup_vq": self._setup_vq,
        }

    def begin(self, binding: Binding) -> None:
        """BINDING has begun: its driver's tables may already have been recorded."""
        binding.negotiation.tables = self._tables.pop(binding.device.address, None)

    def hit(self, call: Call) -> None:
        """Add a hit: a status, features, a driver's tables or a virtqueue."""
        event = call.event
        if event.probe == "vring_create_virtqueue":
            self._created(call)
            return
        device = self._device_of(call)
        if device is None or (event.detail is None and event.probe not in _STEPS):
            return
        if event.probe == "driver_features":
            self._driver_features(call, device)
            return
        device.init_calls.append(call)
        found = self._negotiation(call)
        if event.probe in _WRITES or (event.detail and event.detail.status is not None):
            device.status.append(event)
            if found is not None:
                found.status.append(event)
        elif found is not None and event.probe == "get_features":
            found.offered_by = event

    def _driver_features(self, call: Call, device: Device) -> None:
        """A separate event at virtio_dev_probe: the kernel may record it before or after the
        entry."""
        last = device.bindings[-1] if device.bindings else None
        if last is not None and call.parent is last.call:
            last.negotiation.tables = call.event
        else:
            self._tables[device.address] = call.event

    def _negotiation(self, call: Call) -> Negotiation | None:
        """The negotiation of the binding that CALL is inside of."""
        device = self._device_of(call)
        binding = device.bindings[-1] if device is not None and device.bindings else None
        if binding is None or not call.inside(binding.call):
            return None
        return binding.negotiation

    def _validate(self, call: Call) -> None:
        found = self._negotiation(call)
        if found is not None:
            found.validate = call

    def _features_ok(self, call: Call) -> None:
        found = self._negotiation(call)
        if found is not None:
            found.features_ok = call

    def _find_vqs(self, call: Call) -> None:
        found = self._negotiation(call)
        if found is not None:
            found.find_vqs.append(call)

    def _msix(self, call: Call) -> None:
        found = self._negotiation(call)
        if found is not None:
            found.msix.append(call)

    def _setup_vq(self, call: Call) -> None:
        found = self._negotiation(call)
        if found is not None:
            found.setups.append(call)

    def _created(self, call: Call) -> None:
        """A virtqueue of a transport whose setup_vq is inlined and so has no event."""
        around = call.parent
        while around is not None and around.event.probe not in ("setup_vq", "find_vqs"):
            around = around.parent
        device = self._device_of(around) if around is not None else None
        if around is None or device is None or around.event.probe == "setup_vq":
            return
        device.init_calls.append(call)
        found = self._negotiation(around)
        if found is not None:
            found.setups.append(call)
