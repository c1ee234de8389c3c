# SPDX-License-Identifier: GPL-2.0-or-later
"""The plan for a kernel: from the functions of the golden one."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import framed
from tests.unit.tracer.session.guest_streams import CODE, task
from virtio_trace.tracer.bpf import wire
from virtio_trace.tracer.bpf.bytecode import FUNCTIONS
from virtio_trace.tracer.executor import plan as file
from virtio_trace.tracer.executor.plan import Plan
from virtio_trace.tracer.plan.make import BootTimeEvents
from virtio_trace.tracer.points import table
from virtio_trace.tracer.points.offline import OfflineKernel

GOLDEN = Path(__file__).resolve().parents[3] / "golden" / "executor-6.12"


@pytest.fixture(scope="module")
def kernel() -> OfflineKernel:
    return framed.load(GOLDEN)[1].kernel


@pytest.fixture(scope="module")
def plan(kernel: OfflineKernel) -> Plan:
    return task(kernel).plan


def test_no_module_is_loaded_unseen(plan: Plan) -> None:
    first = plan.points[0]
    assert first.number == file.NO_POINT
    assert [event.known for event in first.events] == ["module/module_load"]
    assert plan.programs[first.events[0].program].kind == file.TRACEPOINT


def test_every_probe_with_a_target_is_armed_by_its_number(
    kernel: OfflineKernel, plan: Plan
) -> None:
    targets = {n: probe for n, probe in enumerate(kernel.probes) if probe.target is not None}
    assert 40 < len(targets) <= len(kernel.probes)
    assert [point.number for point in plan.points[1:]] == list(targets)
    for point in plan.points[1:]:
        probe = targets[point.number]
        assert [FUNCTIONS[e.program] for e in point.events] == list(probe.point.programs())
        for event in point.events:
            kind, place, target = event.line.replace(":", " ", 1).split(" ", 2)
            assert target == str(probe.target)
            assert place == event.place
            assert event.place.startswith(f"vtx/{probe.point.name}_{point.number}")
            assert kind[0] == ("r" if event.place.endswith("_ret") else "p")
            assert event.known == ""


def test_what_is_registered_early_is_described_again(kernel: OfflineKernel, plan: Plan) -> None:
    """Until both registrations are armed, an address may be of another device."""
    by_number = {point.number: point for point in plan.points}
    seen: set[str] = set()
    for number, probe in enumerate(kernel.probes):
        if probe.target is None:
            continue
        again = not seen.issuperset(table.REGISTER)
        assert by_number[number].shape == probe.point.shape(again)
        seen.add(probe.point.name)
    assert seen.issuperset(table.REGISTER)


def test_an_event_of_the_boot_is_attached_to_as_it_is(kernel: OfflineKernel) -> None:
    number = next(n for n, probe in enumerate(kernel.probes) if probe.target is not None)
    plan = task(kernel, BootTimeEvents("vt", {(number, False): "a"})).plan
    events = {point.number: point.events for point in plan.points}
    assert events[number][0].known == "vt/a"
    assert events[number][0].line  # where the kernel has it no more
    assert plan.boot_group == "vt"


def test_maps_are_those_of_the_program(plan: Plan) -> None:
    assert [(m.kind, m.key, m.value, m.entries) for m in plan.maps] == [
        (m.type, m.key_size, m.value_size, m.entries) for m in wire.MAPS
    ]
    assert wire.MAPS[plan.ring - 1].name == "EVENTS"
    assert wire.MAPS[plan.count - 1].name == "COUNT"
    ((number, key, value),) = plan.values
    assert wire.MAPS[number - 1].name == "OFFSETS"
    assert len(key) == wire.MAPS[number - 1].key_size
    assert len(value) == wire.MAPS[number - 1].value_size


def test_modules_whose_probes_are_confirmed_when_they_come(
    kernel: OfflineKernel, plan: Plan
) -> None:
    assert b"virtio_net" in plan.confirm
    assert plan.confirm == sorted(set(plan.confirm))


def test_it_is_for_one_kernel(kernel: OfflineKernel, plan: Plan) -> None:
    assert (plan.release, plan.machine) == (kernel.release, "x86_64")
    assert plan.cookie == CODE.cookie
    assert [program.name for program in plan.programs] == list(FUNCTIONS)
    assert len(file.encode(plan)) < 60_000
