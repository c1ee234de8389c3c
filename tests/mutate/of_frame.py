# SPDX-License-Identifier: GPL-2.0-or-later
"""Mutants of the header and the trailer: probe points, evidence, the snapshot, the end state."""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from typing import Any

from tests.mutate.base import Base, Line, Mutant

Change = tuple[str, str, bool, Line]


def mutants(base: Base) -> Iterator[Mutant]:
    """All mutants of the header and the trailer."""
    for name, where, hides, header in (*_header(base), *_snapshot(base), *_evidence(base)):
        yield Mutant(name, where, header=header, hides=hides)
    for name, where, hides, trailer in (*_trailer(base), *_final(base), *_host(base)):
        yield Mutant(name, where, trailer=trailer, hides=hides)
    yield Mutant("trailer: none", "", cut=True, hides=True)
    header, trailer = deepcopy(base.header), deepcopy(base.trailer)
    for what, states in (("none", []), ("absent", _all(base, "absent"))):
        yield Mutant(f"all lists of probes: {what}", "", header=header | {"probes": states},
                     trailer=trailer | {"probes": states}, hides=True)  # fmt: skip


def _all(base: Base, state: str) -> list[Line]:
    return [probe | {"state": state} for probe in base.trailer["probes"]]


def _header(base: Base) -> Iterator[Change]:
    yield from _probes(base, "header", base.header, ("probes",))
    if base.header.get("boot"):
        yield from _probes(base, "boot", base.header, ("boot", "probes"))


def _trailer(base: Base) -> Iterator[Change]:
    trailer = base.trailer
    yield from _probes(base, "trailer", trailer, ("probes",))
    for number in (1, -1):
        yield (
            f"trailer: events {number:+}",
            "",
            True,
            trailer | {"events": trailer["events"] + number},
        )
    yield "trailer: lost", "", True, trailer | {"lost": 1}
    yield "trailer: ended", "", False, trailer | {"ended": "interrupt"}
    yield "trailer: command_status", "", False, trailer | {"command_status": 1}


def _probes(base: Base, which: str, line: Line, path: tuple[str, ...]) -> Iterator[Change]:
    """Each probe point with another state. ``used``: the recording has events of it."""
    used = {(event.probe, event.function) for event in base.events}
    states: Any = line
    for name in path:
        states = states[name]
    assert isinstance(states, list)
    for number, state in enumerate(states):
        name = state["probe"]
        point = f"{name} {'used' if (name, state['function']) in used else 'unused'}"
        where = str(state["function"])
        for change in (
            {"state": "armed"}, {"state": "not armed"}, {"state": "waiting"}, {"state": "absent"},
            {"missed": 1}, {"armed_ns": 1 << 50}, {"function": "another"},
        ):  # fmt: skip
            if any(state.get(member) != value for member, value in change.items()):
                (what,) = (f"{member} {value}" for member, value in change.items())
                new = [*states[:number], state | change, *states[number + 1 :]]
                yield f"{which} probe {what}: {point}", where, True, _with(line, path, new)
        gone = [*states[:number], *states[number + 1 :]]
        yield f"{which} probe gone: {point}", where, True, _with(line, path, gone)
    yield f"{which} probes: none", "", True, _with(line, path, [])
    absent = [state | {"state": "absent"} for state in states]
    yield f"{which} probes: absent", "", True, _with(line, path, absent)


def _with(line: Line, path: tuple[str, ...], value: Any) -> Line:
    head, *rest = path
    return line | {head: _with(line[head], tuple(rest), value) if rest else value}


def _snapshot(base: Base) -> Iterator[Change]:
    header, snapshot = base.header, base.header["snapshot"]
    bus = snapshot | {"bus": not snapshot["bus"]}
    yield "snapshot: bus", "", False, header | {"snapshot": bus}
    for number, device in enumerate(snapshot["devices"]):
        rest = [*snapshot["devices"][:number], *snapshot["devices"][number + 1 :]]
        where = device["address"]
        gone = header | {"snapshot": snapshot | {"devices": rest}}
        yield "snapshot: device gone", where, False, gone
        for member, value in (("driver", "virtio_rng"), ("id", 99), ("status", 15)):
            new = [*rest, device | {member: value}]
            yield (
                f"snapshot: device's {member}",
                where,
                False,
                header | {"snapshot": snapshot | {"devices": new}},
            )
    known = {d["address"] for d in snapshot["devices"]}
    for address in {e.device.address for e in base.events if e.device} - known:
        device = {"name": "virtio9", "address": address, "bus": "pci", "driver": None}
        new = [*snapshot["devices"], device]
        yield (
            "snapshot: device more",
            address,
            False,
            header | {"snapshot": snapshot | {"devices": new}},
        )
    for number, driver in enumerate(snapshot["drivers"]):
        rest = [*snapshot["drivers"][:number], *snapshot["drivers"][number + 1 :]]
        gone = header | {"snapshot": snapshot | {"drivers": rest}}
        yield "snapshot: driver gone", driver["name"], False, gone


def _evidence(base: Base) -> Iterator[Change]:
    header, evidence = base.header, base.header["evidence"]
    seen = {e.driver for e in base.events if e.driver}
    bound = {e.driver for e in base.events if e.probe == "virtio_dev_probe" and e.result == 0}

    def new(**members: Any) -> Line:
        return header | {"evidence": evidence | members}

    yield "evidence: release", "", False, new(release="6.0.0-another")
    yield "evidence: none", "", True, new(drivers=[], transports=[], builtin=[])
    yield "evidence: unread", "", True, new(unread={"a.ko": "is empty"})
    for name in evidence["builtin"]:
        rest = [other for other in evidence["builtin"] if other != name]
        yield f"evidence: builtin gone: {name}", name, True, new(builtin=rest)
    for number, driver in enumerate(evidence["drivers"]):
        used = "used" if driver["name"] in seen else "unused"
        used = "bound" if driver["name"] in bound else used
        others = evidence["drivers"][:number], evidence["drivers"][number + 1 :]
        functions = driver["functions"]
        for what, hides, change in (
            ("ids none", False, {"ids": []}),
            ("ids", False, {"ids": [[99, 0xFFFFFFFF]]}),
            ("ids any", False, {"ids": [[0xFFFFFFFF, 0xFFFFFFFF]]}),
            ("probe none", True, {"functions": functions | {"probe": None}}),
            ("probe", False, {"functions": functions | {"probe": "another"}}),
            ("functions none", True, {"functions": {}}),
            ("module", False, {"module": "another"}),
            ("name", False, {"name": "another"}),
            ("builtin", False, {"builtin": not driver.get("builtin", False)}),
        ):
            drivers = [*others[0], driver | change, *others[1]]
            name = f"evidence: {what}: {used} driver"
            yield name, driver["name"], hides, new(drivers=drivers)
        gone = [*others[0], *others[1]]
        yield f"evidence: gone: {used} driver", driver["name"], True, new(drivers=gone)


def _final(base: Base) -> Iterator[Change]:
    trailer, final = base.trailer, base.trailer.get("final")
    if final is None:
        return

    def new(**members: Any) -> Line:
        return trailer | {"final": final | members}

    yield "final: none", "", True, trailer | {"final": None}
    yield "final: not registered", "", False, new(registered=False)
    yield "final: autoprobe", "", False, new(autoprobe={"virtio": False, "pci": False})
    for kind in ("devices", "drivers", "pci", "modules"):
        items = final[kind]
        for number, item in enumerate(items):
            rest = [*items[:number], *items[number + 1 :]]
            where = item if isinstance(item, str) else item.get("address", item.get("name"))
            yield f"final: {kind} gone", where, False, new(**{kind: rest})
            for member, value in _FINAL.get(kind, ()):
                if item.get(member) != value:
                    changed = [*items[:number], item | {member: value}, *items[number + 1 :]]
                    yield f"final: {kind}' {member}", where, False, new(**{kind: changed})
    device = {"name": "virtio99", "address": "0000:00:1e.0", "bus": "pci", "driver": None}
    yield "final: devices more", "", False, new(devices=[*final["devices"], device])
    driver = {"name": "virtio_another", "module": None}
    yield "final: drivers more", "", False, new(drivers=[*final["drivers"], driver])
    function = {"address": "0000:00:1e.0", "device": 0x1041, "driver": "virtio-pci",
                "suppliers": []}  # fmt: skip
    yield "final: pci more", "", False, new(pci=[*final["pci"], function])
    for device in final["devices"]:
        deferred = {**(final["deferred"] or {}), device["address"]: None}
        yield "final: deferred", device["address"], False, new(deferred=deferred)


_FINAL: dict[str, tuple[tuple[str, Any], ...]] = {
    "devices": (
        ("driver", None), ("driver", "virtio_another"), ("id", 99), ("vendor", 1),
        ("name", "virtio99"), ("status", 3), ("status", 0x8F), ("features", "1" * 64),
    ),
    "pci": (("driver", None), ("driver", "vfio-pci"), ("device", 0x1052)),
}  # fmt: skip


def _host(base: Base) -> Iterator[Change]:
    trailer, host = base.trailer, base.trailer.get("host")
    if host is None:
        return
    yield "host: none", "", False, trailer | {"host": None}
    for number, device in enumerate(host["devices"]):
        others = host["devices"][:number], host["devices"][number + 1 :]
        for what, change in (
            ("status", {"status": {"names": [], "unknown": "0x0"}}),
            ("features", {"guest_features": {"names": [], "unknown": "0x0"}}),
            ("queues", {"queues": []}),
            ("address", {"address": "0000:00:1e.0"}),
        ):
            devices = [*others[0], device | change, *others[1]]
            yield (
                f"host: {what}",
                device["path"],
                False,
                trailer | {"host": host | {"devices": devices}},
            )
