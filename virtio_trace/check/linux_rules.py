# SPDX-License-Identifier: GPL-2.0-or-later
"""Profile linux: one function per step, each writing its results to a findings.CheckContext.

linux_steps.py has the source of each step; the steps of the transport are in linux_transport.py.
If a step was not taken, the steps after it are not judged: the finding names the step that failed.
"""

from __future__ import annotations

from virtio_trace.check import diagnosis, initrd
from virtio_trace.check.findings import NOTE, CheckContext
from virtio_trace.check.linux_transport import (
    device_registered,
    note_intx_fallback,
    note_legacy_fallback,
    transport_probed,
)
from virtio_trace.check.scope import BUS
from virtio_trace.check.unbound import why_unbound
from virtio_trace.graph.calls import Call, failure
from virtio_trace.graph.model import Binding, Device, Driver
from virtio_trace.recording.evidence import DriverFacts
from virtio_trace.virtio.numbers import EPROBE_DEFER


def bus(context: CheckContext) -> None:
    """bus-registered: recorded, or built in. A bus registered before the recording is unknown."""
    graph = context.graph
    call = graph.bus_register
    header = graph.recording.header
    step = "bus-registered"
    if call is not None:
        early = graph.first_registration
        if early is not None and early.event.seq < call.event.seq:
            message = f"{early.event.symbol} ran before the VirtIO bus was registered"
            context.bad(step, BUS, message, early, call)
        else:
            context.returned(step, BUS, call)
    elif BUS in header.evidence.builtin:
        context.good(step, BUS)
        context.finding(NOTE, step, BUS, "the VirtIO bus is built into this kernel")
    elif header.snapshot.bus:
        context.before(step, BUS, "the VirtIO bus existed before the recording began")
    elif graph.drivers or graph.devices:
        context.missing(step, BUS, "nothing registered the VirtIO bus")


def driver(context: CheckContext, subject: Driver) -> None:
    """driver-loaded and driver-registered."""
    if subject.register is None:
        if subject.in_snapshot:
            message = "the driver was registered before the recording began"
            if _is_builtin(context, subject):
                context.good("driver-loaded", subject.name)
            else:
                context.before("driver-loaded", subject.name, message)
            context.before("driver-registered", subject.name, message)
        else:
            message = "the bus used a driver that had not registered"
            context.missing("driver-registered", subject.name, message, subject.early)
        return
    _loaded(context, subject)
    step = "driver-registered"
    if subject.early is not None:
        message = "the bus used the driver before it registered"
        context.missing(step, subject.name, message, subject.early, subject.register)
    else:
        context.returned(step, subject.name, subject.register)


def _is_builtin(context: CheckContext, subject: Driver) -> bool:
    facts, builtin = subject.facts, context.graph.recording.header.evidence.builtin
    return facts is not None and (facts.builtin or facts.module in builtin)


def _loaded(context: CheckContext, subject: Driver) -> None:
    step = "driver-loaded"
    facts, register = subject.facts, subject.register
    assert register is not None
    if facts is None and (
        _before_user_space(context, register) or _has_no_module(context, subject)
    ):
        context.good(step, subject.name)
    elif facts is None:
        files = initrd.whose_files(context.graph)
        message = f"no module file of {files} has the driver: whether it is built in is unknown"
        context.unknown(step, subject.name, message, register)
    elif _is_builtin(context, subject):
        context.good(step, subject.name)
    elif subject.loaded is None:
        message = f"the driver registered, but its module {facts.module} had not been loaded"
        context.missing(step, subject.name, message, register)
    else:
        context.good(step, subject.name)


def _before_user_space(context: CheckContext, call: Call) -> bool:
    """Whether only built-in code can have made CALL: no module was loaded yet, and no process
    existed that could load one."""
    recording = context.graph.recording
    began = recording.header.user_space_ns
    if began is None or call.event.ns >= began:
        return False
    first = context.graph.first_module
    return first is None or call.event.seq < first.seq


def _has_no_module(context: CheckContext, subject: Driver) -> bool:
    """Whether the driver registered at boot and is built in by sysfs: it has no link to a module
    (drivers/base/module.c, module_add_driver). The images of some machines do not tell."""
    header = context.graph.recording.header
    return header.boot is not None and any(
        known.name == subject.name and known.module is None for known in header.snapshot.drivers
    )


def device(context: CheckContext, subject: Device) -> None:
    """transport-probed and device-registered, then each binding, or the reason for having none."""
    if not subject.untouched:
        if not (transport_probed(context, subject) and device_registered(context, subject)):
            return
        note_legacy_fallback(context, subject)
        for binding in subject.bindings:
            _binding(context, binding)
        _scanned(context, subject)
    for judgement in why_unbound(context, subject):
        context.record(subject.address, judgement)


def _binding(context: CheckContext, binding: Binding) -> None:
    address, call = binding.device.address, binding.call
    if not _matched(context, binding):
        return
    facts = context.graph.recording.header.evidence.driver(binding.driver or "")
    probe = binding.probe
    if call.result == -EPROBE_DEFER:
        message = f"deferred: {diagnosis.binding(context.graph, binding, False)}"
        context.finding(NOTE, "bus-probed", address, message, call)
        return
    if probe is None and call.result != 0:
        # validate or the feature negotiation failed, before the driver's own probe was called
        if call.result is not None:
            expected = facts.functions.get("probe") if facts is not None else None
            uncalled = facts is not None and context.sees("driver-probed", expected)
            message = diagnosis.binding(context.graph, binding, uncalled)
            context.bad("bus-probed", address, message, call)
        else:
            context.unfinished("bus-probed", address, call)
        return
    if call.result == 0 or call.ret is None or (probe is not None and probe.result == 0):
        context.returned("bus-probed", address, call)
        if call.result == 0:
            note_intx_fallback(context, binding)
    else:
        context.good("bus-probed", address)  # the step that failed inside it has the error
    _probed(context, binding, facts)


def _matched(context: CheckContext, binding: Binding) -> bool:
    step, device, call = "pair-matched", binding.device, binding.match
    if call is None:
        message = f"{binding.driver} was probed without a bus scan that matched the pair"
        context.missing(step, device.address, message, binding.call)
        return True
    if call.result is None:
        context.unfinished(step, device.address, call)
        return True
    if call.result == 0:
        message = f"{binding.driver} was probed although the bus scan found no match"
        context.bad(step, device.address, message, call, binding.call)
        return True
    if call.result < 0:
        context.bad(step, device.address, failure(call), call)
        return False
    if call.ret is not None and call.ret.seq > binding.call.event.seq:
        message = f"{binding.driver} was probed before the bus scan matched the pair"
        context.bad(step, device.address, message, call, binding.call)
        return True
    facts = context.graph.recording.header.evidence.driver(binding.driver or "")
    if facts is None:
        files = initrd.whose_files(context.graph)
        message = f"no module file of {files} has {binding.driver}: its id_table is unknown"
        context.unknown(step, device.address, message, call)
    elif device.id is None or device.vendor is None:
        context.unknown(step, device.address, "the device's ids are unknown", call)
    elif not facts.accepts(device.id, device.vendor):
        message = f"the bus matched {binding.driver}, but its id_table does not have the device"
        context.bad(step, device.address, message, call)
    else:
        context.good(step, device.address)
    return True


def _scanned(context: CheckContext, subject: Device) -> None:
    """Bus scans not followed by a binding: each result must agree with the id_table."""
    step, address = "pair-matched", subject.address
    followed = {binding.match for binding in subject.bindings}
    for call in subject.matches:
        facts = context.graph.recording.header.evidence.driver(call.event.driver or "")
        known = facts is not None and subject.id is not None and subject.vendor is not None
        if call.result is not None and call.result < 0 and call not in followed:
            context.bad(step, address, failure(call), call)
            continue
        if call.result is None or not known or call in followed:
            continue
        assert facts is not None and subject.id is not None and subject.vendor is not None
        accepts = facts.accepts(subject.id, subject.vendor)
        if call.result and not accepts:
            message = f"the bus matched {facts.name}, but its id_table does not have the device"
            context.bad(step, address, message, call)
        elif accepts and not call.result and subject.bindings:  # else unbound.py reports it
            message = f"{facts.name}'s id_table has the device, but the bus did not match them"
            context.bad(step, address, message, call)


def _probed(context: CheckContext, binding: Binding, facts: DriverFacts | None) -> None:
    step, address, probe = "driver-probed", binding.device.address, binding.probe
    expected = facts.functions.get("probe") if facts else None
    if probe is None:
        if expected is None:
            context.unknown(step, address, _unnamed(context, binding, facts), binding.call)
        elif context.sees(step, expected):
            message = f"{binding.driver}'s own probe function {expected} was not called"
            context.bad(step, address, message, binding.call)
        else:
            message = f"{expected} was not called, or it was not seen"
            context.unknown(step, address, message, binding.call)
    elif not probe.inside(binding.call):
        message = f"{probe.event.symbol} ran outside virtio_dev_probe"
        context.missing(step, address, message, binding.call, probe, also=("virtio_dev_probe",))
    elif facts is None or expected is None:
        context.unknown(step, address, _unnamed(context, binding, facts), binding.call, probe)
    elif not _is_the_structs(probe, facts):
        message = f"{probe.event.symbol} ran, but struct virtio_driver names {expected}"
        message += f" [{facts.module}]" if probe.event.function == expected else ""
        context.bad(step, address, message, probe)
    elif probe.result not in (0, None) and binding.call.result == probe.result:
        context.bad(step, address, diagnosis.binding(context.graph, binding, False), probe)
    else:
        context.returned(step, address, probe)


def _unnamed(context: CheckContext, binding: Binding, facts: DriverFacts | None) -> str:
    if facts is None:
        files = initrd.whose_files(context.graph)
        return f"no module file of {files} has {binding.driver}: its probe function is unknown"
    return f"the evidence names no probe function for {binding.driver}"


def _is_the_structs(probe: Call, facts: DriverFacts) -> bool:
    """Whether PROBE is the function named in the driver's struct, in the driver's module. Built-in
    code is in no module, whatever module it would be if built as one."""
    if probe.event.function != facts.functions.get("probe"):
        return False
    return probe.event.module in ((None,) if facts.builtin else (facts.module,))
