# SPDX-License-Identifier: GPL-2.0-or-later
"""Events: the lines of a recording between its header and its trailer.

An event refers to kernel objects by name and id, never by address: addresses are reused within a
boot and would leak the layout that KASLR hides.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from virtio_trace.errors import BadInputError
from virtio_trace.recording.json_types import NUMBER_END, damaged, obj, optional, string, u32

ENTRY = "entry"
RETURN = "return"
HIT = "hit"
MODULE = "module"
KINDS = (ENTRY, RETURN, HIT, MODULE)


@dataclass(frozen=True, slots=True)
class DeviceRef:
    """The device that an event is about, as far as the kernel knew it at that moment.

    ``address`` identifies it: the name of its parent device on ``bus`` (0000:00:02.0 on pci,
    a003e00.virtio_mmio on platform). ``index`` is the N of virtioN, assigned by
    register_virtio_device. ``id`` and ``vendor`` are those of struct virtio_device_id, the PCI
    numbers those of struct pci_dev.
    """

    address: str
    bus: str
    index: int | None = None
    id: int | None = None
    vendor: int | None = None
    pci_vendor: int | None = None
    pci_device: int | None = None


@dataclass(frozen=True, slots=True)
class Detail:
    """What an event shows of the negotiation.

    ``status`` is the device status that was written (VirtIO 2.1). ``features`` are bits in
    hexadecimal: for get_features those offered by the device, for driver_features those in the
    driver's table, otherwise those negotiated so far. ``legacy`` are the bits in the driver's table
    for legacy devices. ``count`` is a number of virtqueues. ``queue`` is a virtqueue's index,
    ``size`` its number of descriptors, ``vector`` its MSI-X vector (65535: none). ``name`` is the
    name of a virtqueue or a module.
    """

    status: int | None = None
    features: str | None = None
    legacy: str | None = None
    count: int | None = None
    queue: int | None = None
    size: int | None = None
    vector: int | None = None
    name: str | None = None


@dataclass(slots=True)
class Event:
    """One event, in the order of the kernel's ring buffer.

    ``seq`` counts from 1 and skips a number for each lost event. ``ns`` is CLOCK_MONOTONIC in
    nanoseconds. ``kind`` is one of KINDS; a ``hit`` stands for a call of a function of which only
    the entry or only the return is traced. ``probe`` is the name of the probe point, the same on
    every kernel; ``function`` is the symbol it is armed on and ``module`` the module of that symbol
    (None: built into the kernel). For a ``module`` event, ``module`` is the module that was loaded.
    ``result`` and ``duration_ns`` belong to returns; None if unknown, or if the event has none.
    """

    seq: int
    ns: int
    cpu: int
    tid: int
    comm: str
    kind: str
    probe: str | None = None
    function: str | None = None
    module: str | None = None
    device: DeviceRef | None = None
    driver: str | None = None
    result: int | None = None
    duration_ns: int | None = None
    detail: Detail | None = None

    @property
    def symbol(self) -> str:
        """The function and its module, as the kernel prints them: virtnet_probe [virtio_net]."""
        name = self.function or "?"
        return f"{name} [{self.module}]" if self.module else name

    def to_json(self) -> dict[str, Any]:
        """A flat object without unknown members."""
        line = {name: getattr(self, name) for name in _SCALARS}
        line = {name: value for name, value in line.items() if value is not None}
        for name in _OBJECTS:
            known = getattr(self, name)
            if known is not None:
                members = {member: getattr(known, member) for member in known.__slots__}
                line[name] = {k: v for k, v in members.items() if v is not None}
        return line


_OBJECTS = ("device", "detail")
_SCALARS = tuple(name for name in Event.__slots__ if name not in _OBJECTS)
_STRINGS = ("comm", "kind", "probe", "function", "module", "driver")
_COUNTS = ("seq", "ns", "cpu", "tid")
_HASHED = {int, str}
_BITS = re.compile(r"0x[0-9a-f]{1,32}")
_MOST = 1 << 14
"""Names, devices and details that are remembered. When there are more, all are forgotten."""


class _Absent:
    """Stands for a missing member: no JSON value equals it."""


_ABSENT: Any = _Absent()
_INITIAL = {_ABSENT: None} | {kind: kind for kind in KINDS}


class EventReader:
    """Turns parsed JSON lines into Events. Equal names, devices and details share one object.

    A recording has few names and many events. A name is checked when it first appears; after that,
    checking it costs one look-up.
    """

    def __init__(self) -> None:
        self._refs: dict[Any, DeviceRef] = {}
        self._details: dict[Any, Detail] = {}
        self._names: dict[Any, Any] = dict(_INITIAL)

    def event(self, raw: dict[str, Any]) -> Event:
        """Raises BadInputError for a missing or wrong member, or an unknown kind."""
        try:
            event = self._event(raw)
        except (KeyError, TypeError):  # a new name, or damage
            self._learn(raw)
            event = self._event(raw)
        kind = event.kind
        if kind not in KINDS:
            raise BadInputError(f"unknown event kind {kind!r}", "a newer virtio-trace may know it")
        if kind == MODULE:
            if event.module is None:
                raise BadInputError("module event without a 'module'")
        elif event.probe is None:
            raise BadInputError(f"{kind} event without a 'probe'")
        _check_numbers(event)
        return event

    def _event(self, raw: dict[str, Any]) -> Event:
        get, names = raw.get, self._names
        device, detail = get("device"), get("detail")
        return Event(
            raw["seq"],
            raw["ns"],
            raw["cpu"],
            raw["tid"],
            names[raw["comm"]],
            names[raw["kind"]],
            names[get("probe", _ABSENT)],
            names[get("function", _ABSENT)],
            names[get("module", _ABSENT)],
            None if device is None else self._ref(device),
            names[get("driver", _ABSENT)],
            get("result"),
            get("duration_ns"),
            None if detail is None else self._detail(detail),
        )

    def _learn(self, raw: dict[str, Any]) -> None:
        if len(self._names) >= _MOST:
            self._names = dict(_INITIAL)
        for name in _COUNTS:
            if name not in raw:
                raise BadInputError(f"event without a valid {name!r}")
        for name in _STRINGS:
            value = raw.get(name, _ABSENT)
            if value is _ABSENT and name in ("comm", "kind"):
                raise BadInputError(f"event without a valid {name!r}")
            if value is not _ABSENT:
                if type(value) is not str:
                    raise BadInputError(f"event with an invalid {name!r}")
                self._names[value] = value

    def _ref(self, raw: Any) -> DeviceRef:
        return _kept(self._refs, raw, _device_ref)

    def _detail(self, raw: Any) -> Detail:
        return _kept(self._details, raw, _detail)


_Known = TypeVar("_Known", DeviceRef, Detail)


def _kept(known: dict[Any, _Known], raw: Any, read: Callable[[Any], _Known]) -> _Known:
    """The object for RAW: from KNOWN, or made by READ."""
    # 1, 1.0 and True are equal keys, but only one of them is an id; a list cannot be a key
    if type(raw) is not dict or not _HASHED.issuperset(map(type, raw.values())):
        return read(raw)
    key = tuple(raw.items())
    found = known.get(key)
    if found is None:
        if len(known) >= _MOST:
            known.clear()
        found = known[key] = read(raw)
    return found


def _device_ref(raw: Any) -> DeviceRef:
    """Raises BadInputError."""
    with damaged("'device' of an event"):
        get = obj(raw).get
        address, bus = string(raw["address"]), string(raw["bus"])
        if not address or not bus:
            raise ValueError("empty")
        return DeviceRef(
            address,
            bus,
            optional(u32, get("index")),
            optional(u32, get("id")),
            optional(u32, get("vendor")),
            optional(u32, get("pci_vendor")),
            optional(u32, get("pci_device")),
        )


def _detail(raw: Any) -> Detail:
    """Raises BadInputError."""
    with damaged("'detail' of an event"):
        get = obj(raw).get
        return Detail(
            optional(u32, get("status")),
            optional(_hex_bits, get("features")),
            optional(_hex_bits, get("legacy")),
            optional(u32, get("count")),
            optional(u32, get("queue")),
            optional(u32, get("size")),
            optional(u32, get("vector")),
            optional(string, get("name")),
        )


def _hex_bits(value: Any) -> str:
    if _BITS.fullmatch(string(value)) is None:
        raise ValueError("not bits in hexadecimal")
    return str(value)


def _check_numbers(event: Event) -> None:
    for name in _COUNTS:
        value = getattr(event, name)
        if type(value) is not int or not 0 <= value < NUMBER_END:
            raise BadInputError(f"event without a valid {name!r}")
    result, duration = event.result, event.duration_ns
    if result is not None and (type(result) is not int or not -NUMBER_END <= result < NUMBER_END):
        raise BadInputError("event with an invalid 'result'")
    if duration is not None and (type(duration) is not int or not 0 <= duration < NUMBER_END):
        raise BadInputError("event with an invalid 'duration_ns'")
