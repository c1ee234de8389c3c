# SPDX-License-Identifier: GPL-2.0-or-later
"""Which function a probe point is: by trying names in symbol tables, never by a version."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from virtio_trace.kernel.drivers.evidence import Symbols, functions_of
from virtio_trace.kernel.files.elf_tables import Function
from virtio_trace.kernel.files.module_tree import ModuleTree
from virtio_trace.recording.evidence import DriverFacts, Evidence
from virtio_trace.recording.probe_state import ABSENT, NOT_ARMED, WAITING
from virtio_trace.tracer.points import shape
from virtio_trace.tracer.points.resolve import Settled, settle
from virtio_trace.tracer.points.table import DRIVER_PROBE, ProbePoint, points
from virtio_trace.tracer.points.target import Target

NAMES = ("__register", "register")
POINT = ProbePoint("register", NAMES, "virtio", shape.DRIVER, "drivers")
OPTIONAL = ProbePoint("register", NAMES, "virtio", shape.DRIVER, "drivers", optional=True)
Functions = Mapping[str, Sequence[Function]] | None


TWO = [Function(".text", 0x40, 16), Function(".text", 0x90, 16)]
ONE = TWO[:1]
EVERY = ProbePoint("status", ("set",), "virtio_pci", shape.VIRTIO_DEVICE, "status", every=True)


def one(
    builtin: dict[str, list[int]], functions: Functions = None, point: ProbePoint = POINT
) -> Settled:
    (settled,) = settle([point], builtin, lambda _module: functions)
    return settled


def every(builtin: dict[str, list[int]], functions: Functions = None) -> list[str]:
    """What tracefs is told to arm, or why nothing."""
    found = settle([EVERY], builtin, lambda _module: functions)
    return [str(settled.target or settled.reason) for settled in found]


def test_the_newest_name_first() -> None:
    assert one({"__register": [1], "register": [2]}).target == Target("__register", None)
    assert one({"register": [2]}).target == Target("register", None)


def test_a_modules_function_has_its_module_in_front() -> None:
    settled = one({}, {"register": ONE})
    assert str(settled.target) == "virtio:register"
    assert settled.state().state == WAITING


def test_a_name_that_exists_twice_is_not_armed() -> None:
    for settled in (one({"register": [1, 2]}), one({}, {"register": TWO})):
        assert settled.target is None
        state = settled.state()
        assert state.state == NOT_ARMED and state.reason and "2 functions" in state.reason


def test_a_name_that_does_not_exist_is_not_armed() -> None:
    functions: Functions
    for functions in (None, {}):
        state = one({}, functions).state()
        assert state.state == NOT_ARMED and state.reason and "register" in state.reason


def test_what_a_kernel_may_be_built_without_is_absent() -> None:
    assert one({}, {}, OPTIONAL).state().state == ABSENT
    assert one({"register": [1, 2]}, {}, OPTIONAL).state().state == NOT_ARMED


def test_every_function_of_a_name_is_reached_from_a_name_of_its_own() -> None:
    functions = {
        "set": TWO,
        "first": [Function(".text", 0x10, 16)],
        "between": [Function(".text", 0x70, 16)],
        "elsewhere": [Function(".init.text", 0x80, 16)],
        "twice": [Function(".text", 0x80, 8), Function(".text", 0x88, 8)],
    }
    assert every({}, functions) == ["virtio_pci:first+0x30", "virtio_pci:between+0x20"]


def test_every_built_in_function_of_a_name_is_reached_from_where_the_text_begins() -> None:
    found = every({"set": [0x1100, 0x1200], "_stext": [0x1000]})
    assert found == ["_stext+0x100", "_stext+0x200"]


def test_a_function_that_cannot_be_reached_says_why() -> None:
    assert (
        every({}, {"set": TWO}) == ["no function of a name of its own before set in virtio_pci"] * 2
    )
    hidden = every({"set": [0, 0], "_stext": [0]})
    assert hidden == ["the kernel hides its addresses (kptr_restrict)"] * 2


def test_one_function_alone_needs_no_base() -> None:
    assert every({}, {"set": ONE}) == ["virtio_pci:set"]
    assert every({"set": [5]}) == ["set"]


def _facts(name: str, module: str, *, builtin: bool) -> DriverFacts:
    return DriverFacts(name, module, "/proc/kcore", name, (), {"probe": "probe"}, builtin=builtin)


def test_built_in_drivers_with_one_probe_function() -> None:
    """virtio_console's two drivers, of one of which the module's name is not known."""
    both = (_facts("console", "virtio_console", builtin=True), _facts("serial", "", builtin=True))
    found = [p for p in points(Evidence("6.12", both)) if p.name == DRIVER_PROBE]
    assert [(point.module, point.symbols) for point in found] == [(None, ("probe",))]
    (settled,) = settle(found, {"probe": [7]}, lambda _module: None)
    assert settled.target == Target("probe", None)
    (settled,) = settle(found, {"probe": [7, 8]}, lambda _module: None)
    assert settled.state().state == NOT_ARMED


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
        (settled,) = settle([point], {}, functions_of(symbols, {"probe": places}))
        assert settled.target == target
