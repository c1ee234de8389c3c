# SPDX-License-Identifier: GPL-2.0-or-later
"""Asks QEMU for its view of the guest's virtio devices, and adds it to a recording's trailer.

x-query-virtio and its like exist from QEMU 7.2 on. They name a device by its path in QEMU's object
tree; places.py finds its bus address in the guest.

See docs/decisions/0013.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from virtio_trace.errors import BadInputError, CannotTraceError
from virtio_trace.recording.host_view import (
    Bits,
    HostDevice,
    HostQueue,
    HostView,
)
from virtio_trace.recording.trailer import TRAILER
from virtio_trace.virtio import numbers
from virtio_trace.vm.qemu.places import Places
from virtio_trace.vm.qemu.qmp import Monitor, MonitorClosedError

_PATIENCE_SECONDS = 20.0
_MARK = f'"kind":"{TRAILER}"'.encode()
_MOST_DEVICES = 1024
_MOST_QUEUES = 1024
"""VIRTIO_QUEUE_MAX (include/hw/virtio/virtio.h of QEMU)."""

_OTHER_SHAPE = (
    KeyError, TypeError, ValueError, AttributeError, IndexError, OverflowError, RecursionError,
    BadInputError,
)  # fmt: skip
"""What reading an answer of another shape may raise."""


def is_trailer(line: bytes) -> bool:
    """Whether LINE looks like a recording's trailer."""
    return _MARK in line[:64]


def with_host(line: bytes, monitor: Monitor, say: Callable[[str], None], dropped: int = 0) -> bytes:
    """LINE; a trailer gets the host's view as ``host``, and DROPPED more ``lost`` events.

    If QEMU cannot be queried, the view has the reason, and SAY gets it too. A trailer that already
    has a host's view is returned unchanged.
    """
    if not is_trailer(line):
        return line
    try:
        trailer = json.loads(line)
    except (ValueError, RecursionError):
        return line  # the reader of the recording reports what is wrong with it
    if not isinstance(trailer, dict) or trailer.get("kind") != TRAILER or "host" in trailer:
        return line
    view = look(monitor)
    if view.reason is not None:
        say(f"the recording has {_part(view)} of the host's own view: {view.reason}")
    added = {**trailer, "host": view.to_json()}
    if dropped and type(added.get("lost")) is int:
        added["lost"] += dropped
    return json.dumps(added, separators=(",", ":"), ensure_ascii=True).encode() + b"\n"


def _part(view: HostView) -> str:
    return "only part" if view.devices else "nothing"


def look(monitor: Monitor) -> HostView:
    """Every virtio device as QEMU sees it now. Never raises: ``reason`` says what failed.

    x-query-virtio-status is sent last, as QEMU 11.1 aborts on it: what the other commands returned
    is kept.
    """
    view = HostView(None, None)
    monitor.patience(_PATIENCE_SECONDS)
    try:
        version = monitor.command("query-version")
        view = replace(view, model="QEMU {major}.{minor}.{micro}".format(**version["qemu"]))
        places = Places(monitor)
        found = [
            _outline(monitor, places, entry)
            for entry in monitor.command("x-query-virtio")[:_MOST_DEVICES]
        ]
        found.sort(key=lambda device: device.address or "~")
        view = _checked(replace(view, devices=tuple(found)))
        for index, device in enumerate(found):
            found[index] = _with_status(monitor, device)
            view = _checked(replace(view, devices=tuple(found)))
    except MonitorClosedError:
        return replace(view, reason="QEMU ended when it was asked")
    except CannotTraceError as error:
        return replace(view, reason=str(error))
    except _OTHER_SHAPE as error:
        return replace(view, reason=f"QEMU's answer has an unexpected form: {error!r:.200}")
    return view


def _checked(view: HostView) -> HostView:
    """VIEW, if a reader of the recording accepts it. Raises BadInputError."""
    HostView.from_json(view.to_json())
    return view


def _outline(monitor: Monitor, places: Places, entry: dict[str, Any]) -> HostDevice:
    """A device without its status and features. ``name`` is such as virtio-net."""
    path = entry["path"]
    bus, address = places.of(path)
    return HostDevice(
        path=path,
        id=_type_id(entry.get("name", "")),
        bus=bus,
        address=address,
        status=None,
        guest_features=None,
        host_features=None,
        queues=tuple(_queues(monitor, path)),
    )


def _type_id(name: str) -> int:
    """The device type's number, by QEMU's name for it; 0, which no device has, if unknown."""
    word = name.removeprefix("virtio-")
    names = {"blk": "block", "serial": "console", "9p": "9p"}
    wanted = names.get(word, word)
    return next((number for number, known in numbers.DEVICE_TYPES.items() if known == wanted), 0)


def _queues(monitor: Monitor, path: str) -> Iterator[HostQueue]:
    """The device's virtqueues: from the first index that it lacks on, QEMU returns an error."""
    for number in range(_MOST_QUEUES):
        try:
            queue = monitor.command("x-query-virtio-queue-status", path=path, queue=number)
        except MonitorClosedError:
            raise
        except CannotTraceError:
            return
        used = queue.get("used-idx")
        yield HostQueue(queue["queue-index"], queue["vring-num"], bool(queue["vring-desc"]), used)


def _with_status(monitor: Monitor, device: HostDevice) -> HostDevice:
    shown = monitor.command("x-query-virtio-status", path=device.path)
    status = shown["status"]
    return replace(
        device,
        id=shown["device-id"],
        status=Bits(_names(status["statuses"]), hex(status.get("unknown-statuses", 0))),
        guest_features=_features(shown["guest-features"]),
        host_features=_features(shown["host-features"]),
        queues=device.queues[: shown["num-vqs"]],
    )


def _features(shown: dict[str, Any]) -> Bits:
    """``unknown-dev-features2`` has bits 64 to 127 (QEMU 10.2)."""
    unknown = shown.get("unknown-dev-features", 0) | shown.get("unknown-dev-features2", 0) << 64
    return Bits(_names([*shown["transports"], *shown.get("dev-features", [])]), hex(unknown))


def _names(said: list[str]) -> tuple[str, ...]:
    """The names: QEMU sends ``VIRTIO_CONFIG_S_DRIVER_OK: Driver setup and ready``."""
    return tuple(line.partition(":")[0] for line in said)
