# SPDX-License-Identifier: GPL-2.0-or-later
"""The parameters for a kernel's command line: what fits, in which order, and how they match."""

from __future__ import annotations

import subprocess

import pytest

from tests.unit.tracer.ftrace.test_fetchargs import LINUX_7_3, POINTS
from virtio_trace.check.linux_steps import NEEDED
from virtio_trace.cli.cmdline import grub
from virtio_trace.tracer.ftrace import cmdline
from virtio_trace.tracer.ftrace.cmdline import CMDLINE_MAX, boot_line, listed, match
from virtio_trace.tracer.ftrace.definitions import Definition, definitions
from virtio_trace.tracer.points import table
from virtio_trace.tracer.points.resolve import ResolvedProbe
from virtio_trace.tracer.points.target import Target


def driver(module: str | None, function: str) -> ResolvedProbe:
    point = table.of_driver(table.DRIVER_PROBE, function, "a driver", module)
    return ResolvedProbe(point, Target(function, module))


DRIVERS = [driver("virtio_net", "virtnet_probe"), driver("virtio_mem", "virtio_mem_probe"),
           driver(None, "virtcons_probe")]  # fmt: skip
EVERY = definitions(
    [*(ResolvedProbe(p, Target(p.symbols[0], None)) for p in POINTS.values()), *DRIVERS],
    LINUX_7_3,
    "x86_64",
    whole=False,
)


def test_what_a_verdict_needs_comes_first() -> None:
    points = sorted((one.point for one in EVERY), key=lambda point: point.priority)
    names = list(dict.fromkeys(point.name for point in points))
    assert set(names[: len(NEEDED)]) == NEEDED


@pytest.mark.parametrize("room", [*range(0, 900, 37), 1500, 1995, CMDLINE_MAX, 5000])
def test_it_is_never_longer_than_the_room(room: int) -> None:
    line = boot_line(EVERY, room)
    assert len(line.text) <= room
    assert sorted(one.name for one in line.armed + line.left) == sorted(one.name for one in EVERY)
    names = {one.point.name for one in line.left}
    assert not line.text or line.text.count("kprobe_event=") == 1
    for one in line.armed:  # an entry has its return
        assert {other.name for other in line.armed} >= {
            other.name for other in EVERY if other.number == one.number
        }
    if room >= 1995:
        assert names & NEEDED <= {table.DRIVER_PROBE}  # virtio_mem's


def test_a_shorter_definition_fills_the_room() -> None:
    short = len(boot_line(EVERY, 400).text)
    assert 300 < short <= 400


def test_no_room_at_all() -> None:
    line = boot_line(EVERY, 100)
    assert (line.text, line.armed) == ("", [])
    assert len(line.left) == len(EVERY)


def test_drivers_that_are_not_preferred_come_last() -> None:
    order = [one.target.symbol for one in boot_line(EVERY, 9999, ("virtio_mem",)).armed]
    assert order[-1] == "virtnet_probe"
    assert order.index("virtio_mem_probe") < order.index("vp_set_status")
    assert order.index("virtcons_probe") < order.index("vp_set_status")


def test_the_kernels_list_is_matched() -> None:
    """The kernel prints offsets in decimal and maxactive after the r."""
    twin = ResolvedProbe(POINTS["get_features"], Target("vp_get_features", None, "_stext", 0xABC))
    module = ResolvedProbe(POINTS["setup_vq"], Target("vp_setup_vq", "virtio_pci"))
    mine = definitions([twin, module], LINUX_7_3, "x86_64", whole=False)
    text = (
        "p:vt/x1 _stext+2748 v=%di e=+80(+808(%di))\n"
        "r10:vt/x2 _stext+2748 x=$retval f=+0($arg2) g=+8($arg2)\n"
        "p:other/x3 virtio_pci:vp_setup_vq v=%di q=%si n=+0(%cx):string w=%r9\n"
        "p:vt/x4 virtio_pci:vp_setup_vq v=%di q=%si n=+0(%cx):string w=%r9\n"
        "r10:vt/x5 virtio_pci:vp_setup_vq q=+44($retval) n=+0(+24($retval)):string\n"
    )
    found, foreign = match(listed(text), mine)
    assert [(one.name, one.number, one.returns) for one in found] == [
        ("x1", 0, False), ("x2", 0, True), ("x4", 1, False),
    ]  # fmt: skip
    assert [event.name for event in foreign] == ["x5"]


def test_a_line_matches_what_the_kernel_lists() -> None:
    line = boot_line(EVERY, 9999)
    text = line.text.partition("kprobe_event=")[2]
    shown = "\n".join(part.replace(",", " ") for part in text.split(";")) + "\n"
    found, foreign = match(listed(shown), EVERY)
    assert ([one.name for one in found], foreign) == ([one.name for one in line.armed], [])


def names(found: list[Definition]) -> set[str]:
    return {one.point.name for one in found}


def test_only_what_can_have_a_hit_at_boot_is_armed() -> None:
    builtin = cmdline.worth_arming(EVERY, ["virtio"], modules=False)
    assert "bus_register" not in names(builtin)
    assert not names(builtin) & {"do_init_module", "virtio_device_freeze"}
    assert all(one.target.module is None for one in builtin)
    every = cmdline.worth_arming(EVERY, [], modules=True)
    assert every == EVERY


def test_grub_gets_the_line_through_a_shell() -> None:
    text = boot_line(EVERY, 600).text
    assert "$retval" in text and ";" in text
    line = f'GRUB_CMDLINE_LINUX=quiet; {grub(text)}; printf %s "$GRUB_CMDLINE_LINUX"'
    done = subprocess.run(["sh", "-c", line], capture_output=True, text=True, check=True)
    assert done.stdout == "quiet " + " ".join(f"'{word}'" for word in text.split())
