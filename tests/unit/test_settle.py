# SPDX-License-Identifier: GPL-2.0-or-later
"""Which function a probe point is: by trying names in symbol tables, never by a version."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from virtio_trace.recording import ABSENT, NOT_ARMED, WAITING
from virtio_trace.tracer import wire
from virtio_trace.tracer.kprobes import Target
from virtio_trace.tracer.probes import ProbePoint
from virtio_trace.tracer.settle import Settled, settle

NAMES = ("__register", "register")
POINT = ProbePoint("register", NAMES, "virtio", wire.DRIVER, "drivers")
OPTIONAL = ProbePoint("register", NAMES, "virtio", wire.DRIVER, "drivers", optional=True)
Functions = Mapping[str, Sequence[object]] | None


def one(builtin: dict[str, int], functions: Functions = None, point: ProbePoint = POINT) -> Settled:
    (settled,) = settle([point], builtin, lambda _module: functions)
    return settled


def test_the_newest_name_first() -> None:
    assert one({"__register": 1, "register": 1}).target == Target("__register", None)
    assert one({"register": 1}).target == Target("register", None)


def test_a_modules_function_has_its_module_in_front() -> None:
    settled = one({}, {"register": [object()]})
    assert str(settled.target) == "virtio:register"
    assert settled.state().state == WAITING


def test_a_name_that_exists_twice_is_not_armed() -> None:
    for settled in (one({"register": 2}), one({}, {"register": [object(), object()]})):
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
    assert one({"register": 2}, {}, OPTIONAL).state().state == NOT_ARMED
