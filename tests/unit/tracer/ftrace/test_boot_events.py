# SPDX-License-Identifier: GPL-2.0-or-later
"""Collecting a boot's events: how many were lost, what was armed. tests/vm does it on real boots.

The ring is that of a real boot (tests/golden/ring-6.12.txt).
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.unit.surgery import GOLDEN
from tests.unit.tracer.ftrace.test_text_decoder import OFFSETS, POINTS, STEXT
from virtio_trace.check.linux_steps import NEEDED
from virtio_trace.errors import CannotTraceError
from virtio_trace.recording.probe_state import ABSENT, ARMED, NOT_ARMED, WAITING
from virtio_trace.tracer.ftrace import boot_events
from virtio_trace.tracer.ftrace.boot_events import BootTime, LiveArming, collect
from virtio_trace.tracer.ftrace.boot_ring import BootEvents
from virtio_trace.tracer.points import table
from virtio_trace.tracer.points.resolve import ResolvedProbe
from virtio_trace.tracer.points.target import Target

TEXT = (GOLDEN / "ring-6.12.txt").read_text("utf-8")
LISTED = "".join(f"{line[2:]}\n" for line in TEXT.splitlines() if line.startswith("# p:vt/")
                 or line.startswith("# r"))  # fmt: skip
LINES = [f"{line}\n" for line in TEXT.splitlines() if not line.startswith("#")]


def driver(function: str, module: str | None) -> ResolvedProbe:
    point = table.of_driver(table.DRIVER_PROBE, function, "a driver", module)
    return ResolvedProbe(point, Target(function, module))


PROBES = [
    *(ResolvedProbe(POINTS[name], Target(POINTS[name].symbols[0], None, "_stext", offset))
      for offset, name in STEXT["6.12"].items()),
    *(ResolvedProbe(point, Target(point.symbols[0], None))
      for point in POINTS.values() if point.name not in STEXT["6.12"].values()),
    *(driver(name, None)
      for name in ("virtcons_probe", "virtio_fs_probe")),
    driver("virtnet_probe", "virtio_net"),
    driver("virtio_mem_probe", "virtio_mem"),
    ResolvedProbe(POINTS["virtio_mmio_probe"], None, "gone"),
]  # fmt: skip
LIVE = LiveArming(0, 0, {}, {}, {"virtio_net"}, {"virtio"})


class Kernel(BootEvents):
    """Answers as a kernel would, and notes what it is told to do."""

    def __init__(self, **more: Any) -> None:
        self.told: list[str] = []
        self.text, self.lines = LISTED, LINES
        self.mode, self.over, self.busy, self.more, self.late = "mono", 0, "", 0, 0
        for name, value in more.items():
            setattr(self, name, value)

    def listed(self) -> str:
        return self.text

    def clock(self) -> str:
        return self.mode

    def overrun(self) -> int:
        return self.over

    def counts(self) -> dict[str, tuple[int, int]]:
        hits: dict[str, int] = {}
        for line in LINES:
            name = line.split(": ")[1]
            hits[name] = hits.get(name, 0) + 1
        del hits["module_load"]  # a tracepoint has no count
        stopped = "stop" in self.told
        hits["t"] += self.more + (self.late if stopped else 0)
        return {name: (count, 5 * stopped) for name, count in hits.items()}

    def stop(self) -> None:
        self.told.append("stop")

    @contextlib.contextmanager
    def pipe(self) -> Iterator[Callable[[], list[str]]]:
        if self.busy:
            raise CannotTraceError(self.busy)
        self.told.append("open")
        yield self._drain

    def _drain(self) -> list[str]:
        self.told.append("drain")
        return self.lines

    def remove(self) -> None:
        self.told.append("remove")


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(boot_events, "SLACK_NS", 0)


def taken(kernel: Kernel) -> BootTime:
    found = collect(kernel, PROBES, OFFSETS["6.12"], "x86_64", LIVE)
    assert found is not None
    return found


def states(found: BootTime) -> dict[str, tuple[str, str | None]]:
    return {s.function or "": (s.state, s.reason) for s in found.states}


def test_a_kernel_without_boot_time_events_has_nothing() -> None:
    for text in ("", "p:vtx/a vfs_read\n", "p:kprobes/vt vfs_read\n"):
        kernel = Kernel(text=text)
        assert collect(kernel, PROBES, OFFSETS["6.12"], "x86_64", LIVE) is None
        assert kernel.told == []


def test_the_events_are_stopped_drained_and_removed_in_order() -> None:
    kernel = Kernel()
    found = taken(kernel)
    assert kernel.told == ["open", "stop", "drain", "remove"]
    assert (found.lost, found.reason, found.foreign) == (0, None, 0)
    assert len(found.events) == len(LINES) - sum(": f: " in line for line in LINES)
    assert found.events[0].seq == 1


def test_what_was_armed_at_boot() -> None:
    found = states(taken(Kernel()))
    assert found["virtio_pci_probe"] == (ARMED, None)
    assert found["virtnet_probe"] == (NOT_ARMED, "at boot: not on the kernel's command line")
    assert found["virtio_mem_probe"] == (WAITING, None)  # its module was not loaded
    assert found["bus_register"][0] == ABSENT
    assert "virtio_mmio_probe" in found  # built in at boot


def test_a_probe_without_a_hit_is_confirmed_by_the_kernels_list() -> None:
    """No driver was unregistered: only the list shows that it would have been seen."""
    target = "unregister_virtio_driver"
    assert states(taken(Kernel()))[target][0] == NOT_ARMED
    keys: dict[tuple[str, str, str | None], int] = {("k", target, None): 2, ("r", target, None): 2}
    needed = dict.fromkeys(keys, 1)  # this recorder's; the others are those of boot
    live = LiveArming(0, 0, keys, needed, {"virtio_net"}, {"virtio"})
    found = collect(Kernel(), PROBES, OFFSETS["6.12"], "x86_64", live)
    assert found is not None and states(found)[target] == (ARMED, None)


def test_an_entry_without_its_return_is_not_armed() -> None:
    text = "".join(line for line in LISTED.splitlines(True) if "vt/C " not in line)
    lines = [line for line in LINES if ": C: " not in line]
    found = states(taken(Kernel(text=text, lines=lines)))
    assert found["virtio_pci_probe"][0] == NOT_ARMED


def test_hits_that_are_not_in_the_ring_are_lost() -> None:
    """Overwritten, or read by another program: the first event's number shows it."""
    found = taken(Kernel(lines=LINES[20:]))
    counted = sum("module_load" not in line for line in LINES[:20])
    assert found.lost == counted == 20
    assert found.events[0].seq == 21
    assert taken(Kernel(more=3)).lost == 3
    assert taken(Kernel(over=7)).lost == 7
    assert taken(Kernel(lines=[])).lost > 100


def test_a_hit_while_the_events_are_being_disabled_is_not_lost() -> None:
    """It is counted after the kernel stopped writing lines; the program has it. Those that were
    missed until then count."""
    found = taken(Kernel(late=2))
    assert (found.lost, found.events[0].seq) == (0, 1)
    assert {s.missed for s in found.states if s.state == ARMED} >= {5}


def test_one_events_later_lines_do_not_hide_anothers_losses() -> None:
    one = next(line for line in reversed(LINES) if ": t: " in line)
    other = next(index for index, line in enumerate(LINES) if ": f: " in line)
    lines = [*LINES[:other], *LINES[other + 1 :], one]
    assert taken(Kernel(lines=lines)).lost == 1


def test_after_a_recorder_that_was_killed_all_events_are_lost() -> None:
    """It had drained the ring: the next recorder only finds the definitions."""
    found = taken(Kernel(lines=[]))
    assert (found.events, found.lost > 0) == ([], True)


def test_events_with_another_clock_are_not_used() -> None:
    kernel = Kernel(mode="local")
    found = taken(kernel)
    assert found.events == []
    assert found.reason == "at boot: its events use the clock local, not mono"
    assert kernel.told[-1] == "remove"
    assert {s.state for s in found.states} == {NOT_ARMED}
    assert {s.probe for s in found.states} >= NEEDED


def test_another_kernels_definitions_are_foreign() -> None:
    kernel = Kernel(text=LISTED.replace("+816(", "+848(").replace("_stext+", "_stext+1"))
    found = taken(kernel)
    assert found.foreign == 8 and found.reason is None
    assert states(found)["vp_set_status"][0] == NOT_ARMED
    assert all(event.probe != "set_status" for event in found.events)
    other = Kernel(text="p:vt/x vfs_read\n")
    found = taken(other)
    assert (found.foreign, found.events) == (1, [])
    assert found.reason == "at boot: its events were made for another kernel"
    assert other.told[-1] == "remove"


def test_a_ring_that_another_program_reads_is_left_alone() -> None:
    kernel = Kernel(busy="cannot read trace_pipe: Device or resource busy")
    found = taken(kernel)
    assert kernel.told == []
    assert found.reason and "busy" in found.reason
