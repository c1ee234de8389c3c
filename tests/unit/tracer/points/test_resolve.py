# SPDX-License-Identifier: GPL-2.0-or-later
"""Which function a probe point is: names are tried in symbol tables; versions are not used."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from virtio_trace.kernel.drivers.evidence import Symbols, functions_of
from virtio_trace.kernel.files.elf_tables import Function
from virtio_trace.kernel.files.module_tree import ModuleTree
from virtio_trace.recording.evidence import DriverFacts, Evidence
from virtio_trace.recording.probe_state import ABSENT, NOT_ARMED, WAITING
from virtio_trace.tracer.points import shape
from virtio_trace.tracer.points.point import ProbePoint
from virtio_trace.tracer.points.resolve import ResolvedProbe, resolve
from virtio_trace.tracer.points.table import DRIVER_PROBE, points
from virtio_trace.tracer.points.target import Target

NAMES = ("__register", "register")
POINT = ProbePoint("register", NAMES, "virtio", shape.DRIVER, "drivers", "r", 1)
OPTIONAL = replace(POINT, optional=True)
Functions = Mapping[str, Sequence[Function]] | None


TWO = [Function(".text", 0x40, 16), Function(".text", 0x90, 16)]
ONE = TWO[:1]
EVERY = ProbePoint(
    "status", ("set",), "virtio_pci", shape.VIRTIO_DEVICE, "status", "s", 2, every=True
)


def one(
    builtin: dict[str, list[int]], functions: Functions = None, point: ProbePoint = POINT
) -> ResolvedProbe:
    (probe,) = resolve([point], builtin, lambda _module: functions)
    return probe


def every(builtin: dict[str, list[int]], functions: Functions = None) -> list[str]:
    """What tracefs is told to arm, or why there is nothing."""
    found = resolve([EVERY], builtin, lambda _module: functions)
    return [str(probe.target or probe.reason) for probe in found]


def test_the_newest_name_is_tried_first() -> None:
    assert one({"__register": [1], "register": [2]}).target == Target("__register", None)
    assert one({"register": [2]}).target == Target("register", None)


def test_a_modules_function_begins_with_its_module() -> None:
    probe = one({}, {"register": ONE})
    assert str(probe.target) == "virtio:register"
    assert probe.state().state == WAITING


def test_a_name_that_exists_twice_is_not_armed() -> None:
    for probe in (one({"register": [1, 2]}), one({}, {"register": TWO})):
        assert probe.target is None
        state = probe.state()
        assert state.state == NOT_ARMED and state.reason and "2 functions" in state.reason


def test_a_name_that_does_not_exist_is_not_armed() -> None:
    functions: Functions
    for functions in (None, {}):
        state = one({}, functions).state()
        assert state.state == NOT_ARMED and state.reason and "register" in state.reason


def test_a_function_that_a_kernel_may_be_built_without_is_absent() -> None:
    assert one({}, {}, OPTIONAL).state().state == ABSENT
    assert one({"register": [1, 2]}, {}, OPTIONAL).state().state == NOT_ARMED


def test_every_function_of_a_name_is_reached_from_a_unique_name() -> None:
    functions = {
        "set": TWO,
        "first": [Function(".text", 0x10, 16)],
        "between": [Function(".text", 0x70, 16)],
        "elsewhere": [Function(".init.text", 0x80, 16)],
        "twice": [Function(".text", 0x80, 8), Function(".text", 0x88, 8)],
    }
    assert every({}, functions) == ["virtio_pci:first+0x30", "virtio_pci:between+0x20"]


def test_every_built_in_function_of_a_name_is_reached_from_stext() -> None:
    found = every({"set": [0x1100, 0x1200], "_stext": [0x1000]})
    assert found == ["_stext+0x100", "_stext+0x200"]


def test_a_function_that_cannot_be_reached_says_why() -> None:
    assert every({}, {"set": TWO}) == ["no uniquely named function before set in virtio_pci"] * 2
    hidden = every({"set": [0, 0], "_stext": [0]})
    assert hidden == ["the kernel hides its addresses (kptr_restrict)"] * 2


def test_a_unique_function_needs_no_base() -> None:
    assert every({}, {"set": ONE}) == ["virtio_pci:set"]
    assert every({"set": [5]}) == ["set"]


def _facts(name: str, module: str, *, builtin: bool) -> DriverFacts:
    return DriverFacts(name, module, "/proc/kcore", name, (), {"probe": "probe"}, builtin=builtin)


def test_built_in_drivers_with_one_probe_function() -> None:
    """virtio_console has two drivers; the module of one is not known."""
    both = (_facts("console", "virtio_console", builtin=True), _facts("serial", "", builtin=True))
    found = [p for p in points(Evidence("6.12", both)) if p.name == DRIVER_PROBE]
    assert [(point.module, point.symbols) for point in found] == [(None, ("probe",))]
    (probe,) = resolve(found, {"probe": [7]}, lambda _module: None)
    assert probe.target == Target("probe", None)
    (probe,) = resolve(found, {"probe": [7, 8]}, lambda _module: None)
    assert probe.state().state == NOT_ARMED


def test_a_loaded_module_without_a_file(tmp_path: Path) -> None:
    (tmp_path / "modules.builtin").touch()
    symbols = Symbols(ModuleTree(tmp_path))
    (point,) = (
        p
        for p in points(Evidence("6.12", (_facts("gone", "gone", builtin=False),)))
        if p.name == DRIVER_PROBE
    )
    for places, target in (
        ([("gone", 7), ("other", 8)], Target("probe", "gone")),
        ([("gone", 7), ("gone", 8)], None),
        ([], None),
    ):
        (probe,) = resolve([point], {}, functions_of(symbols, {"probe": places}))
        assert probe.target == target
