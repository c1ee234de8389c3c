# SPDX-License-Identifier: GPL-2.0-or-later
"""Compares a device of the board in our report with sysfs, the kernel's log and QEMU."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tests.vm import oracle, qmp
from tests.vm.board import BOARD, Slot
from tests.vm.guest import Boot
from virtio_trace.virtio import features, numbers

ASPECTS = (
    *("state", "driver", "reason", "step", "errno"),
    *("transport", "status", "features", "queues"),
)


@dataclass(frozen=True, slots=True)
class Found:
    """An ASPECT in the report, and in another source."""

    aspect: str
    ours: Any
    theirs: Any
    by: str

    @property
    def right(self) -> bool:
        return bool(self.ours == self.theirs)


@dataclass(frozen=True, slots=True)
class Row:
    """A device in our report, and in each other source."""

    slot: Slot
    device: dict[str, Any]
    bindings: list[dict[str, Any]]
    sysfs: oracle.SysfsDevice
    host: qmp.HostDevice
    results: list[int]
    irqs: frozenset[str]

    @property
    def early(self) -> bool:
        """It was bound before anything was armed."""
        return bool(self.device["snapshot"]) and not self.bindings

    @property
    def state(self) -> str:
        """By sysfs, and by whether the kernel's log has a probe of it."""
        if self.sysfs.driver is not None:
            return "bound"
        return "failed" if self.results else "unbound"

    def compare(self) -> Iterator[Found]:
        """Every aspect that can be known."""
        yield Found("state", self.device["state"], self.state, "sysfs")
        yield Found("driver", self.device["driver"], self.sysfs.driver, "sysfs")
        reason = self.device["reason"] is not None
        yield Found("reason", reason, self.state != "bound", "sysfs")
        modern = "pci-modern" if self.sysfs.modern else "pci-legacy"
        yield Found("transport", self.device["transport"], modern, "its capabilities")
        if self.early:
            return
        status = self.device["status"][-1]
        yield Found("status", status["value"], self.sysfs.status, "sysfs")
        yield Found("status", set(status["names"]), self.host.status, "QEMU")
        yield Found("errno", len(self.bindings), len(self.results), "initcall_debug")
        for binding, result in zip(self.bindings, self.results, strict=False):
            yield Found("errno", binding["result"], result, "initcall_debug")
            yield Found("errno", binding["errno"], numbers.errno_name(result), "initcall_debug")
            yield Found("step", binding["step"], "bus-probed" if result else None, "the board")
            yield from self._features(binding)
            if result == 0:
                yield from self._queues(binding)

    def _features(self, binding: dict[str, Any]) -> Iterator[Found]:
        found = binding["features"]
        offered, wanted = set(found["offered"] or ()), found["driver"]
        yield Found("features", offered - self.host.offered, set(), "QEMU")
        yield Found("features", self.host.offered - offered - qmp.SUPERSET, set(), "QEMU")
        yield Found("features", wanted is not None, True, "the driver's table")
        if binding["result"] == 0:
            bits = [bit for bit, one in enumerate(self.sysfs.features) if one == "1"]
            names = features.names(self.sysfs.id, bits)
            yield Found("features", found["negotiated"], names, "sysfs")
            yield Found("features", set(found["negotiated"] or ()), self.host.negotiated, "QEMU")

    def _queues(self, binding: dict[str, Any]) -> Iterator[Found]:
        queues = binding["queues"] or []
        sizes = {queue["index"]: queue["size"] for queue in queues}
        yield Found("queues", sizes, self.host.queues, "QEMU")
        interrupts = "msix" if self.irqs - {""} else "intx"
        yield Found("queues", binding["interrupts"], interrupts, "/proc/interrupts")
        vectors = {q["name"]: q["vector"] for q in queues if q["vector"] is not None}
        if "virtqueues" in self.irqs:
            yield Found("queues", len(set(vectors.values())), 1, "/proc/interrupts")
        else:
            own = self.irqs - {"config", ""}
            yield Found("queues", set(vectors), own, "/proc/interrupts")


def rows(booted: Boot) -> dict[str, Row]:
    """The board's rows by slot."""
    report = booted.report()
    sysfs = oracle.devices(booted.sections["final"])
    probed = oracle.virtio_probes(booted.kernel_log)
    # Before Linux 5.13 the kernel prints 1 for bound and 0 for any error.
    old = any(probe.result == 1 for probe in probed)
    devices = {device["address"]: device for device in report["devices"]}
    assert len(devices) == len(report["devices"]), "a device is there twice"
    found = {}
    for slot, expected in BOARD.items():
        address = f"0000:00:{slot}"
        name = sysfs[address].name
        found[slot] = Row(
            slot=expected,
            device=devices[address],
            bindings=[b for b in report["bindings"] if b["device"] == address],
            sysfs=sysfs[address],
            host=booted.answers["virtio"][f"at-{slot}"],
            results=[
                (0 if probe.result else expected.result) if old else -probe.result
                for probe in probed
                if probe.device == name
            ],
            irqs=_irqs(booted.sections["interrupts"], name),
        )
    return found


def _irqs(section: list[str], name: str) -> frozenset[str]:
    """The last parts of its interrupts' names: ``config``, a queue's name, ``virtqueues`` for all;
    "" for INTx."""
    found = re.findall(rf"\b{name}(?:-(\S+?))?(?:,|$)", "\n".join(section), re.MULTILINE)
    return frozenset(found)
