# SPDX-License-Identifier: GPL-2.0-or-later
"""docs/kernels.md lists exactly the probe points; the matrix finds faults."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from tests import knowledge, matrix
from tests.vm import board, compare, guest, oracle, qmp
from tests.vm.board import BOARD
from virtio_trace.matrix import devices, plan
from virtio_trace.tracer.points import table

PAGE = knowledge.FILE.read_text(encoding="utf-8")


def _table(title: str) -> list[list[str]]:
    """The cells of the table under TITLE, one list per line, without the ruler."""
    section = PAGE.partition(f"\n## {title}\n")[2].partition("\n## ")[0]
    lines = re.findall(r"^\|(.+)\|$", section, re.MULTILINE)
    cells = [[cell.strip() for cell in line.split("|")] for line in lines]
    return [cells[0], *cells[2:]]


def test_its_rows_are_the_probe_points() -> None:
    names = [point.name for point in (*table.CORE_POINTS, *table.NEGOTIATION_POINTS)]
    names += [table.DRIVER_PROBE, table.DRIVER_VALIDATE]
    rows = [row[0] for row in _table("Probe points")[1:]]
    assert sorted(rows) == sorted(set(names)), "run make matrix"


def test_its_members_are_those_that_are_examined() -> None:
    assert [row[0] for row in _table("Members of the report")[1:]] == list(knowledge.MEMBERS)


@pytest.mark.parametrize("title", ["Probe points", "Members of the report"])
def test_its_columns_are_the_kernels_of_the_matrix(title: str) -> None:
    head, *rows = _table(title)
    assert head[1:] == list(matrix.KERNELS)
    assert all(len(row) == len(head) and all(row) for row in rows)
    assert re.findall(r"^- (.+): \d", PAGE, re.MULTILINE) == list(matrix.KERNELS)


def test_the_state_of_each_function_is_shown() -> None:
    """One is armed, one waits, one is absent from the kernel, one was refused."""
    functions = {"vp_reset": "armed", "vm_reset": "waiting", "vx_reset": "absent"}
    states = [
        {"probe": "reset", "function": name, "state": state} for name, state in functions.items()
    ]
    refused = {"probe": "reset", "function": "vy_reset", "state": "not armed"}
    seen: Any = ({"kernel": {"release": "1"}}, {"probes": [*states, states[0], refused]})
    cell = "| reset | yes `vp_reset` x2, `vm_reset`; - `vx_reset`; no `vy_reset` |"
    report = {"kernel": {"release": "1"}, "drivers": [], "devices": [], "bindings": []}
    assert cell in knowledge.page({"one": (report, seen[1])})


FEATURES = ["VIRTIO_NET_F_MAC", "VIRTIO_F_VERSION_1"]


def _row(**wrong: Any) -> compare.Row:
    """A network device on which all sources agree, except for WRONG members of our report."""
    device = {
        "snapshot": False, "state": "bound", "driver": "virtio_net", "reason": None,
        "transport": "pci-legacy", "status": [{"value": 7, "names": ["A", "B", "C"]}],
    }  # fmt: skip
    binding = {
        "result": 0, "errno": None, "step": None, "interrupts": "msix",
        "features": {"offered": FEATURES, "driver": FEATURES, "negotiated": FEATURES},
        "queues": [{"index": 0, "name": "input.0", "size": 256, "vector": 1}],
    }  # fmt: skip
    bits = "".join(str(int(bit in (5, 32))) for bit in range(64))
    return compare.Row(
        slot=BOARD["02.0"],
        device={name: wrong.get(name, value) for name, value in device.items()},
        bindings=[{name: wrong.get(name, value) for name, value in binding.items()}],
        sysfs=oracle.SysfsDevice(
            "virtio0", "0000:00:02.0", "virtio_net", 7, 1, 0x1AF4, bits, bytes(256)
        ),
        host=qmp.HostDevice(
            frozenset("ABC"), frozenset([*FEATURES, "bit 30"]), frozenset(FEATURES), {0: 256}
        ),
        results=[0],
        irqs=frozenset(["config", "input.0"]),
    )


def test_a_correct_row_has_no_fault() -> None:
    found = list(_row().compare())
    assert [item for item in found if not item.right] == []
    assert {item.aspect for item in found} == set(compare.ASPECTS)


QUEUE = {"index": 0, "name": "input.0", "size": 256, "vector": 1}
WRONG: list[tuple[str, dict[str, Any]]] = [
    ("state", {"state": "unbound"}),
    ("driver", {"driver": "virtio_blk"}),
    ("reason", {"reason": "none"}),
    ("transport", {"transport": "pci-modern"}),
    ("status", {"status": [{"value": 3, "names": ["A", "B", "C"]}]}),
    ("status", {"status": [{"value": 7, "names": ["A", "B"]}]}),
    ("errno", {"result": -22}),
    ("errno", {"errno": "EINVAL"}),
    ("step", {"step": "driver-probed"}),
    ("features", {"features": {"offered": [], "driver": [], "negotiated": FEATURES}}),
    ("features", {"features": {"offered": FEATURES, "driver": None, "negotiated": FEATURES}}),
    ("features", {"features": {"offered": FEATURES, "driver": [], "negotiated": FEATURES[:1]}}),
    ("queues", {"interrupts": "intx"}),
    ("queues", {"queues": None}),
    ("queues", {"queues": [QUEUE | {"size": 64}]}),
    ("queues", {"queues": [QUEUE | {"vector": None}]}),
    ("queues", {"queues": [QUEUE | {"name": "output.0"}]}),
]


@pytest.mark.parametrize(("aspect", "wrong"), WRONG)
def test_each_fault_is_found(aspect: str, wrong: dict[str, Any]) -> None:
    assert aspect in {item.aspect for item in _row(**wrong).compare() if not item.right}


def test_the_plan_is_the_board_of_the_other_tests() -> None:
    """One is a file for people and for virtio-trace, the other what pytest runs and compares."""
    found = plan.read(matrix.PLAN, trust=True)
    assert [case.name for case in found.cases] == [f"{name}/board/1" for name in found.kernels]
    settings = found.cases[0].settings
    ours = devices.options(settings.devices or ())
    theirs = [f"{slot.device},addr={at},id=at-{at}" for at, slot in BOARD.items()]
    named = [option for option in ours if option.startswith("virtio-")]
    assert [_properties(one) for one in named] == [_properties(one) for one in theirs]
    failed = [f"0000:00:{at}" for at, slot in BOARD.items() if slot.state == "failed"]
    assert list(settings.expect.errors or ()) == failed
    asked = board.guest("6.1")
    script = guest.BEFORE + qmp.ASK + asked.script + guest.AFTER
    assert (settings.run, settings.append) == (script, asked.append)


def _properties(device: str) -> set[str]:
    """Without the names of what is behind it."""
    kind, *rest = device.split(",")
    backends = ("netdev=", "drive=", "cryptodev=", "romfile=")
    return {kind, *(one for one in rest if not one.startswith(backends))}


def test_a_package_becomes_a_kernel_of_the_plan(tmp_path: Path) -> None:
    text, names = matrix.plan_for(matrix.chosen(["6.1 generic", "linux-x/sid"]))
    (tmp_path / "plan.toml").write_text(text, "utf-8")
    found = plan.read(tmp_path / "plan.toml", trust=True)
    assert [case.kernel for case in found.cases] == list(names.values())
    assert [case.source.debian for case in found.cases] == [
        matrix.KERNELS["6.1 generic"],
        "linux-x/sid",
    ]


def test_a_kernel_is_named_by_its_column_or_its_package() -> None:
    assert matrix.chosen([]) == matrix.KERNELS
    assert matrix.chosen(["7.x", "a/sid"]) == {"7.x": matrix.KERNELS["7.x"], "a/sid": "a/sid"}
