# SPDX-License-Identifier: GPL-2.0-or-later
"""Why a device has no driver at the end of a recording, as judgements for check and report.

It is an error if a driver in this kernel's files matches the device, a warning if none does.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from virtio_trace.check import diagnosis, initrd
from virtio_trace.check.findings import Judgement, missing, unfinished
from virtio_trace.check.proof import Proof
from virtio_trace.check.refused import of_unread
from virtio_trace.graph.calls import failure
from virtio_trace.graph.model import Device, Driver
from virtio_trace.recording.evidence import DriverFacts, Evidence
from virtio_trace.recording.machine_state import INITCALL_BLACKLIST, BlacklistRule
from virtio_trace.virtio import numbers
from virtio_trace.virtio.numbers import EPROBE_DEFER
from virtio_trace.virtio.transports import PCI

_STEP = "pair-matched"
_ENDS = ("virtio_dev_probe", "unregister_virtio_device")
"""Probe points of what may follow an unbinding: a new binding, or the device's removal."""

_NOT_READ = "; the modules of the root file system were not read"

VIRTIO_PCI = PCI.driver_name
"""The name of struct pci_driver virtio_pci_driver (drivers/virtio/virtio_pci_common.c)."""


def why_unbound(proof: Proof, subject: Device) -> Iterator[Judgement]:
    """Why SUBJECT has no driver. Yields nothing if it has one, or if its binding failed: that
    failure has its own finding."""
    if subject.untouched:
        proof.graph.need_end()
        yield _no_transport(proof, subject)
    elif subject.unregister is not None and subject.snapshot is not None:
        return  # it existed before and was removed: its driver until then does not matter
    elif subject.bindings:
        yield from _released(proof, subject)
    elif subject.removals:
        call = subject.removals[-1]
        message = f"unbound at the end: {call.event.symbol} removed {call.event.driver}"
        message += diagnosis.autoprobe(proof.graph)
        yield missing(proof, _STEP, message, call, also=_ENDS)
    elif subject.snapshot is not None and subject.snapshot.driver:
        message = f"bound to {subject.snapshot.driver} before the recording began"
        yield Judgement(_STEP, message, before=True)
    else:
        yield from _never_bound(proof, subject)


def _released(proof: Proof, subject: Device) -> Iterator[Judgement]:
    """It was bound once or deferred, and has no driver now."""
    last = subject.bindings[-1]
    if subject.unregister is not None:
        return
    if last.unbound is not None:
        message = f"unbound at the end: {last.unbound.event.symbol} removed {last.driver}"
        message += diagnosis.autoprobe(proof.graph)
        yield missing(proof, _STEP, message, last.call, last.unbound, also=_ENDS)
    elif last.call.result == -EPROBE_DEFER:
        message = f"unbound at the end: the probe of {last.driver} is still deferred"
        message += diagnosis.deferral(proof.graph, subject)
        yield missing(proof, "bus-probed", message, last.call)


def _never_bound(proof: Proof, subject: Device) -> Iterator[Judgement]:
    proof.graph.need_end()
    expected = proof.graph.expected_drivers(subject)
    for facts in expected:
        yield from _passed_over(proof, subject, facts)
    if expected:
        return
    evidence = proof.graph.recording.header.evidence
    uncalled = _uncalled(evidence, proof.graph.recording.header.blacklist or ())
    refused = {call.event.driver for call in subject.matches if call.result == 0}
    unread = [d.name for d in proof.graph.drivers.values() if not d.facts and d.name not in refused]
    if unread:
        names = ", ".join(sorted(unread))
        message = f"not bound; whether {names} would match it is unknown: not in any module file"
        yield Judgement(_STEP, message, (subject.register,))
    elif module := _builtin(evidence, subject):
        message = f"not bound: {module}, which matches it, is built in, but has not registered"
        message += f"; not called: {uncalled}" if uncalled else ": why is unknown"
        yield missing(proof, _STEP, message, subject.register)
    elif evidence.unread:
        message = (
            "not bound; whether a driver in a file that could not be read matches it is unknown"
        ) + of_unread(proof.graph, evidence.unread)
        yield Judgement(_STEP, message, (subject.register,))
    elif uncalled:
        message = f"not bound; whether a driver that {uncalled} registers matches it is unknown"
        yield Judgement(_STEP, message, (subject.register,))
    else:
        yield _no_driver(proof, subject)


def _no_driver(proof: Proof, subject: Device) -> Judgement:
    """No driver in the evidence matches SUBJECT. What is not in the evidence is unknown."""
    graph, kind = proof.graph, numbers.device_type(subject.id)
    files = initrd.whose_files(graph)
    message = f"no driver in {files} for this device (type {kind})"
    if subject.id is not None:
        builtin = any(d.builtin for d in graph.recording.header.evidence.drivers)
        memory = " or built into it" if builtin else ""
        message += f": no id_table in its files{memory} has virtio:d{subject.id:08X}"
    if initrd.is_all_known(graph):
        return Judgement(_STEP, message + _NOT_READ, (subject.register,))
    return Judgement(_STEP, message, (subject.register,), is_step=False)


def _builtin(evidence: Evidence, subject: Device) -> str | None:
    """The built-in module with an alias for SUBJECT, which no known driver matches."""
    if subject.id is None or subject.vendor is None or subject.unregister is not None:
        return None
    return evidence.builtin_for(subject.id, subject.vendor)


def _uncalled(evidence: Evidence, rules: Iterable[BlacklistRule]) -> str:
    """Blacklisted init functions that are in no module file. A built-in driver is only known once
    it has registered, so each of them may belong to a driver that matches."""
    known = {d.init for d in evidence.drivers} | {t.init for t in evidence.transports}
    found = (r for r in rules if r.by == INITCALL_BLACKLIST and r.what not in known)
    return " or ".join(f"{rule.what} ({rule.words})" for rule in found)


def _passed_over(proof: Proof, subject: Device, facts: DriverFacts) -> Iterator[Judgement]:
    """The id_table in FACTS has the device: the step at which the binding did not happen."""
    known = proof.graph.drivers.get(facts.name)
    scans = [call for call in subject.matches if call.event.driver == facts.name]
    if known is not None and _came_too_late(known, subject):
        return
    if known is None:
        if subject.unregister is None:  # a removed device may have gone before its driver came
            why = diagnosis.module(proof.graph, facts.module, facts.init, facts.matches)
            message = f"not bound: {facts.name}, which matches it, was never registered: {why}"
            if initrd.is_out_of_reach(proof.graph, facts.module, subject.id):
                yield Judgement(_STEP, message + initrd.NOT_REACHED, (subject.register,))
            else:
                yield missing(proof, _STEP, message, subject.register)
    elif not scans and known.in_snapshot and subject.snapshot is not None:
        message = f"not bound, although {facts.name}, whose id_table has the device, was registered"
        message += diagnosis.autoprobe(proof.graph)
        yield missing(proof, _STEP, message)
    elif not scans:
        message = f"the bus was not scanned for {facts.name}, whose id_table has the device"
        if known.register is not None and known.register.result not in (0, None):
            message += f": {failure(known.register)}"
        message += diagnosis.autoprobe(proof.graph)
        yield missing(proof, _STEP, message, subject.register, known.register)
    elif all(call.result == 0 for call in scans):
        message = f"{facts.name}'s id_table has the device, but the bus did not match them"
        yield Judgement(_STEP, message, tuple(scans), ok=False)
    elif any(call.result is None for call in scans):
        yield unfinished(_STEP, scans[-1])
    elif any(
        (call.result or 0) > 0 for call in scans
    ):  # an error is reported by the step that returned it
        message = f"the bus matched {facts.name}, but did not call virtio_dev_probe"
        yield missing(proof, "bus-probed", message, *scans)


def _came_too_late(driver: Driver, subject: Device) -> bool:
    """Whether DRIVER registered only after SUBJECT was removed."""
    if subject.unregister is None or driver.register is None:
        return False
    return driver.register.event.seq > subject.unregister.event.seq


def _no_transport(proof: Proof, subject: Device) -> Judgement:
    """A PCI device for which virtio_pci_probe was never called; sysfs proves it."""
    function, graph = subject.function, proof.graph
    end = diagnosis.end_state(graph)
    assert function is not None and end is not None  # the device was read from there
    address, step = subject.address, "transport-probed"
    evidence = graph.recording.header.evidence
    facts = next((t for t in evidence.transports if t.name == VIRTIO_PCI), None)
    said = "a PCI device without a driver: "
    log = diagnosis.said_of(graph, subject)
    if function.override not in (None, VIRTIO_PCI):
        said += f"its driver_override is {function.override}"
        return Judgement(step, said + log, is_step=False)
    if end.deferred is not None and address in end.deferred:
        said += f"its probe was deferred{diagnosis.deferral(graph, subject)}"
    elif end.registered:
        said += f"{VIRTIO_PCI} is registered, but was not called for it"
        if end.deferred is None:
            said += "; whether it is deferred is unknown: devices_deferred could not be read"
        said += diagnosis.autoprobe(graph, "pci")
    elif facts is not None:
        said += f"{VIRTIO_PCI}, which matches it, was never registered: "
        said += diagnosis.module(graph, facts.module, facts.init, facts.matches)
        if initrd.is_out_of_reach(graph, facts.module, function.virtio_id):
            return Judgement(step, said + initrd.NOT_REACHED + log)
    elif PCI.module in evidence.builtin:
        said += f"{VIRTIO_PCI}, which matches it, is built in, but is not registered"
        said += diagnosis.forbidden_init(graph, "virtio_pci_driver_init")
    elif initrd.is_all_known(graph):
        return Judgement(step, f"{said}no {VIRTIO_PCI} in the initrd{_NOT_READ}{log}")
    else:
        return Judgement(step, f"{said}no {VIRTIO_PCI} in this kernel{log}", is_step=False)
    return Judgement(step, said + log, ok=False)
