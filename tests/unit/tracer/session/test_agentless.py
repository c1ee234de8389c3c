# SPDX-License-Identifier: GPL-2.0-or-later
"""A recording assembled from the output of a guest without an agent, whole and damaged."""

from __future__ import annotations

import contextlib
import io
import json
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.unit.tracer.ftrace.test_fetchargs import LINUX_6_1
from virtio_trace.check import verdict
from virtio_trace.check.coverage import is_complete
from virtio_trace.errors import IncompleteError
from virtio_trace.graph import builder
from virtio_trace.graph.model import Graph
from virtio_trace.graph.negotiation import Queue
from virtio_trace.recording import reader
from virtio_trace.recording.evidence import Evidence
from virtio_trace.report.summary import summary
from virtio_trace.tracer.points import table
from virtio_trace.tracer.points.offline import OfflineKernel
from virtio_trace.tracer.points.point import ProbePoint
from virtio_trace.tracer.points.resolve import ResolvedProbe
from virtio_trace.tracer.points.target import Target
from virtio_trace.tracer.session import agentless, agentless_arming
from virtio_trace.tracer.session.agentless_states import LATE


def _find(name: str, symbol: str) -> ProbePoint:
    return next(p for p in table.NEGOTIATION_POINTS if p.name == name and symbol in p.symbols)


POINTS = {point.name: point for point in (*table.NEGOTIATION_POINTS[::-1], *table.CORE_POINTS)}
ROOM = 1900
MORE = [
    ResolvedProbe(POINTS["virtio_dev_probe"], Target("virtio_dev_probe", None)),
    ResolvedProbe(POINTS["register_virtio_driver"], Target("__register_virtio_driver", None)),
    ResolvedProbe(_find("find_vqs", "vp_find_vqs"), Target("vp_find_vqs", None)),
    ResolvedProbe(_find("setup_vq", "vp_setup_vq"), Target("vp_setup_vq", None)),
    ResolvedProbe(table.VRING_POINT, Target("vring_create_virtqueue", None)),
]
NAMES = ("register_virtio_device", "virtio_mmio_probe", "set_status")
PROBES = [
    ResolvedProbe(POINTS[NAMES[0]], Target("register_virtio_device", None)),
    ResolvedProbe(POINTS[NAMES[1]], Target("virtio_mmio_probe", "virtio_mmio")),
    ResolvedProbe(POINTS[NAMES[2]], Target("vp_set_status", None, "_stext", 16)),
]
KERNEL = OfflineKernel(
    "6.1", "x86_64", ("virtio",), Evidence("6.1", builtin=("virtio",)), LINUX_6_1, PROBES
)

KPROBES = """\
ffff01  k  register_virtio_device+0x0    [FTRACE]
ffff01  r  register_virtio_device+0x0    [FTRACE]
ffff02  k  vp_set_status+0x0
"""
EARLY = """\
            init-1       [000] d....     0.500000: r: (f+0x0/0x9) v=0x20 a="0000:00:02.0" b="pci" d=0x1af400000001
            init-1       [000] d....     0.500001: s: (f+0x0/0x9) v=0x20 i=0x3 s=0x1 f=0x5
            init-1       [000] d....     0.500002: R: (f <- g) x=0x0
"""  # noqa: E501
BEGIN = (
    "            init-1       [000] .....     2.000000: tracing_mark_write: virtio-trace: begin\n"
)
LIVE = """\
        modprobe-7       [000] .....     3.000000: module_load: virtio_mmio
        modprobe-7       [000] d....     3.000001: o: (f+0x0/0x9) a="a000000.virtio_mmio"
        modprobe-7       [000] d....     3.000009: O: (f <- g) x=0xffffffffffffffed
            init-1       [000] .....     4.000000: tracing_mark_write: virtio-trace: end
"""
SYSFS = """\
==> /sys/devices/pci/0000:00:02.0/virtio0/status <==
0x00000001
'/sys/bus/virtio/devices/virtio0' -> '../../../devices/pci/0000:00:02.0/virtio0'
/sys/bus/virtio
"""
KMSG = "6,0,100,-;Linux\n SUBSYSTEM=cpu\n4,1,200,-;virtio_x: hello\n13,2,300,-;virtio-trace: end\n"
STATS = "cpu0 entries: 0\ncpu0 overrun: 0\ncpu0 oldest event ts:  1.0\ncpu0 dropped events: 0\n"


def text(**changed: str) -> str:
    """The output of a guest, with some parts CHANGED."""
    parts = {
        "refused": "",
        "kprobes": KPROBES,
        "sysfs": SYSFS,
        "early": EARLY,
        "begin": BEGIN,
        "live": LIVE,
        "profile": "  r   1   0\n  vtl/o   1   0\n",
        "kprobes_after": KPROBES,
        "stats": STATS,
        "kmsg": KMSG,
        "ended": "0",
    } | changed
    return (
        "@@ refused\n{refused}@@ kprobes\n{kprobes}@@ modules\n@@ sysfs\n{sysfs}"
        "@@ uptime 1.99 0.5\n@@ trace\n{early}{begin}{live}@@ profile\n{profile}"
        "@@ kprobes\n{kprobes_after}@@ modules\nvirtio_mmio\n@@ stats\n{stats}"
        "@@ sysfs\n{sysfs}@@ kmsg\n{kmsg}@@ ended {ended}\n"
    ).format(**parts)


@contextlib.contextmanager
def scratch() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


def assemble(said: str, room: int = ROOM, kernel: OfflineKernel = KERNEL) -> list[bytes]:
    lines: list[bytes] = []
    guest = agentless.Guest(agentless_arming.arming(kernel, room), lines.append, scratch)
    for line in io.BytesIO(said.encode()):
        guest.consume(line)
    return lines


def parsed(said: str, room: int = ROOM) -> tuple[dict[str, Any], list[dict[str, Any]], Any]:
    header, *events, trailer = (json.loads(line) for line in assemble(said, room))
    return header, events, trailer


def states(trailer: dict[str, Any]) -> dict[str, tuple[str, str | None]]:
    return {p["probe"]: (p["state"], p["reason"]) for p in trailer["probes"]}


def slot(found: Graph) -> list[str]:
    """The severities of the findings about the slot."""
    findings = verdict.check(found).findings
    return [one.severity for one in findings if one.subject == "a000000.virtio_mmio"]


def test_the_result_is_a_recording_like_any_other() -> None:
    lines = assemble(text())
    assert all(line.endswith(b"\n") and line.count(b"\n") == 1 for line in lines)
    read = reader.read(lines, "here")
    assert is_complete(read)
    assert [(e.seq, e.probe, e.kind) for e in read.events] == [
        (1, "register_virtio_device", "entry"),
        (2, "set_status", "hit"),
        (3, "register_virtio_device", "return"),
        (4, None, "module"),
        (5, "virtio_mmio_probe", "entry"),
        (6, "virtio_mmio_probe", "return"),
    ]
    assert read.header.user_space_ns == read.header.snapshot_ns == 2_000_000_000
    assert read.header.started_ns == 1_990_000_000
    shown = summary(read)
    (device,) = shown["devices"]  # there is none in the slot
    assert (device["address"], device["snapshot"]) == ("0000:00:02.0", False)
    assert shown["empty_slots"] == ["a000000.virtio_mmio"]
    assert read.trailer is not None
    assert read.trailer.log is not None
    assert [line.text for line in read.trailer.log.lines] == ["virtio_x: hello"]
    assert read.trailer.log.lost is False


def test_the_kernels_list_or_a_hit_shows_that_a_probe_is_armed() -> None:
    _, _, trailer = parsed(text())
    assert states(trailer) == dict.fromkeys(NAMES, ("armed", None))
    _, _, trailer = parsed(text(kprobes="", kprobes_after="", early="", live=""))
    assert states(trailer)["register_virtio_device"][0] == "not armed"
    assert states(trailer)["virtio_mmio_probe"][0] == "not armed"  # although its module is loaded
    header, _, _ = parsed(text(kprobes=""))
    assert states(header)["virtio_mmio_probe"] == ("waiting", None)


def test_a_definition_that_tracefs_refused_is_not_armed() -> None:
    commands = agentless_arming.arming(KERNEL, ROOM).commands
    (line,) = [one for one in commands if one.startswith("p:vtl/o ")]
    _, _, trailer = parsed(text(refused=f"{line}\n# Invalid probed address or symbol\n", live=""))
    assert states(trailer)["virtio_mmio_probe"] == (
        "not armed", "tracefs refused it: Invalid probed address or symbol",
    )  # fmt: skip


def test_a_probe_without_room_on_the_command_line_is_late() -> None:
    """The recording says when it was armed; the checker decides what that means."""
    _, _, trailer = parsed(text(early=""), 0)
    found = states(trailer)
    assert found["register_virtio_device"] == ("armed", LATE)
    assert found["set_status"] == ("armed", LATE)
    assert found["virtio_mmio_probe"] == ("armed", None)
    began = {p["probe"]: p["armed_ns"] for p in trailer["probes"]}
    assert began["register_virtio_device"] == began["set_status"] == 2_000_000_000
    assert began["virtio_mmio_probe"] is None
    assert not is_complete(reader.read(assemble(text(early=""), 0), "here"))


def test_missed_hits_are_in_the_recording() -> None:
    _, _, trailer = parsed(text(profile="  r   1   3\n  R   1   4\n"))
    assert [p["missed"] for p in trailer["probes"]] == [7, 0, 0]


@pytest.mark.parametrize(
    "changed",
    [
        {"stats": STATS.replace("overrun: 0", "overrun: 5")},
        {"early": "CPU:0 [LOST 5 EVENTS]\n" + EARLY},
        {"live": LIVE.replace("x=0xffffffffffffffed", "x=0xffffff\x00") + "damaged\n" * 4},
    ],
)
def test_events_that_the_ring_lost_are_counted(changed: dict[str, str]) -> None:
    lines = assemble(text(**changed))
    read = reader.read(lines, "here")
    assert read.lost == 5
    said = [finding.message for finding in verdict.check(builder.build(read)).findings]
    assert "5 events were lost" in said


@pytest.mark.parametrize(
    "log",
    [
        "",
        KMSG.replace("4,1,200,-;virtio_x: hello\n", ""),
        KMSG.replace("13,2,300,-;virtio-trace: end\n", ""),
        KMSG.partition("\n4,")[2].join(("4,", "")),
    ],
)
def test_an_incomplete_log_is_noted(log: str) -> None:
    """A slot that looks empty may then be a broken one."""
    read = reader.read(assemble(text(kmsg=log)), "here")
    assert read.trailer is not None
    assert read.trailer.log is not None
    assert read.trailer.log.lost
    found = builder.build(read)
    assert summary(read)["empty_slots"] == []
    assert slot(found) == ["warning"]


def test_a_slot_with_a_wrong_magic_value_is_not_empty() -> None:
    said = "4,1,200,-;virtio-mmio a000000.virtio_mmio: Wrong magic value 0x00000000!"
    read = reader.read(assemble(text(kmsg=KMSG.replace("4,1,200,-;virtio_x: hello", said))), "x")
    found = builder.build(read)
    assert summary(read)["empty_slots"] == []
    assert slot(found) == ["error"]
    assert any("Wrong magic value" in f.message for f in verdict.check(found).findings)


def test_the_status_of_run_is_recorded() -> None:
    assert parsed(text(ended="7"))[2]["command_status"] == 7


def test_a_guest_that_dies_leaves_a_recording_so_far() -> None:
    whole = text()
    lines = assemble(whole[: whole.index("@@ profile")])
    read = reader.read(lines, "here")
    assert read.trailer is None
    assert len(read.events) == 6
    assert assemble(whole[: whole.index("@@ trace")]) == []


@pytest.mark.parametrize("bad", ["@@ uptime\n", "@@ uptime x\n", "@@ ended x\n", "@@ ended\n"])
def test_a_damaged_section_is_an_error(bad: str) -> None:
    with pytest.raises(IncompleteError, match="cannot be understood"):
        assemble(bad)


def test_unknown_sections_and_lines_before_the_first_are_ignored() -> None:
    assert assemble("hello\n@@ tomorrow\nx\n" + text()) == assemble(text())


BOUND = """\
        modprobe-7       [000] d....     3.100000: p: (f+0x0/0x9) v=0x30 r="virtio_x"
        modprobe-7       [000] d....     3.100001: v: (f+0x0/0x9) v=0x20 c=0x1
{inside}\
        modprobe-7       [000] d....     3.100008: V: (f <- g) x=0x0
        modprobe-7       [000] d....     3.100009: P: (f <- g) x=0x0
"""
CREATED = """\
        modprobe-7       [000] d....     3.100005: J: (f <- g) q=0x4000000003 n="req.0"
"""
SETUP = """\
        modprobe-7       [000] d....     3.100004: q: (f+0x0/0x9) v=0x20 q=0x3 n="req.0" w=0x1
{inside}\
        modprobe-7       [000] d....     3.100006: Q: (f <- g) q=0x4000000003 n="req.0"
"""


@pytest.mark.parametrize(
    ("inside", "vector"), [(CREATED, None), (SETUP.format(inside=CREATED), 1)], ids=["mmio", "pci"]
)
def test_a_virtqueue_is_shown_once_by_whichever_function(inside: str, vector: int | None) -> None:
    kernel = replace(KERNEL, probes=PROBES + MORE)
    lines = assemble(text(live=BOUND.format(inside=inside)), kernel=kernel)
    read = reader.read(lines, "here")
    assert read.lost == 0
    (binding,) = (b for device in builder.build(read).devices for b in device.bindings)
    assert binding.negotiation.queues() == [Queue(3, "req.0", 64, vector)]


def test_a_driver_that_registers_before_user_space_is_built_in() -> None:
    """That proves it if no file has the driver. After user space began or a module, it does not."""
    line = "            init-1       [000] d....     {at}: {name}: (f{arrow}) {rest}\n"
    both = "".join(
        line.format(at=f"0.60000{n}", name=name, arrow=arrow, rest=rest)
        for n, (name, arrow, rest) in enumerate(
            (("d", "+0x0/0x9", 'r="virtio_x"'), ("D", " <- g", "x=0"))
        )
    )
    module = "            init-1       [000] d....     0.550000: module_load: early\n"
    kernel = replace(KERNEL, probes=PROBES + MORE)
    for changed, expected in (
        ({"early": EARLY + both}, True),
        ({"early": EARLY + module + both}, None),
        ({"live": both.replace("0.6", "3.6")}, None),
    ):
        found = builder.build(reader.read(assemble(text(**changed), kernel=kernel), "here"))
        steps = verdict.check(found).steps
        assert [s.ok for s in steps if (s.id, s.subject) == ("driver-loaded", "virtio_x")] == [
            expected
        ]
