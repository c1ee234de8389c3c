# SPDX-License-Identifier: GPL-2.0-or-later
"""The parameters for a kernel's command line: what fits, in which order, and what it is again."""

from __future__ import annotations

import subprocess

import pytest

from tests.unit.tracer.ftrace.test_fetchargs import LINUX_7_3, POINTS
from virtio_trace.check.linux_steps import NEEDED
from virtio_trace.cli.cmdline import grub
from virtio_trace.tracer.ftrace import cmdline, fetchargs
from virtio_trace.tracer.ftrace.cmdline import CMDLINE_MAX, ORDER, boot_line, listed, recognized
from virtio_trace.tracer.ftrace.fetchargs import Definition
from virtio_trace.tracer.points import table
from virtio_trace.tracer.points.resolve import Settled
from virtio_trace.tracer.points.table import ProbePoint
from virtio_trace.tracer.points.target import Target


def driver(module: str | None, function: str) -> Settled:
    point = ProbePoint(table.DRIVER_PROBE, (function,), module, 3, "a driver")
    return Settled(point, Target(function, module))


DRIVERS = [driver("virtio_net", "virtnet_probe"), driver("virtio_mem", "virtio_mem_probe"),
           driver(None, "virtcons_probe")]  # fmt: skip
EVERY = fetchargs.definitions(
    [*(Settled(p, Target(p.symbols[0], None)) for p in POINTS.values()), *DRIVERS],
    LINUX_7_3,
    "x86_64",
    whole=False,
)


def test_every_probe_point_has_its_place_and_those_of_a_verdict_come_first() -> None:
    assert sorted(ORDER) == sorted(fetchargs.CODES)
    assert set(ORDER[: len(NEEDED)]) == NEEDED


@pytest.mark.parametrize("room", [*range(0, 900, 37), 1500, 1995, CMDLINE_MAX, 5000])
def test_never_longer_than_the_room(room: int) -> None:
    line = boot_line(EVERY, room)
    assert len(line.text) <= room
    assert sorted(one.name for one in line.armed + line.left) == sorted(one.name for one in EVERY)
    names = {one.point.name for one in line.left}
    assert not line.text or line.text.count("kprobe_event=") == 1
    for one in line.armed:  # an entry and its return, or neither
        assert {other.name for other in line.armed} >= {
            other.name for other in EVERY if other.number == one.number
        }
    if room >= 1995:
        assert names & NEEDED <= {table.DRIVER_PROBE}  # virtio_mem's


def test_what_fits_is_taken_though_a_longer_one_before_it_does_not() -> None:
    short = len(boot_line(EVERY, 400).text)
    assert 300 < short <= 400


def test_no_room_at_all() -> None:
    line = boot_line(EVERY, 100)
    assert (line.text, line.armed) == ("", [])
    assert len(line.left) == len(EVERY)


def test_drivers_that_are_not_asked_for_come_last() -> None:
    order = [one.target.symbol for one in boot_line(EVERY, 9999, ("virtio_mem",)).armed]
    assert order[-1] == "virtnet_probe"
    assert order.index("virtio_mem_probe") < order.index("vp_set_status")
    assert order.index("virtcons_probe") < order.index("vp_set_status")


def test_what_the_kernel_lists_is_known_again() -> None:
    """As it prints them: offsets in decimal digits, maxactive behind the r."""
    twin = Settled(POINTS["get_features"], Target("vp_get_features", None, "_stext", 0xABC))
    module = Settled(POINTS["setup_vq"], Target("vp_setup_vq", "virtio_pci"))
    mine = fetchargs.definitions([twin, module], LINUX_7_3, "x86_64", whole=False)
    text = (
        "p:vt/x1 _stext+2748 v=%di e=+80(+808(%di))\n"
        "r10:vt/x2 _stext+2748 x=$retval f=+0($arg2) g=+8($arg2)\n"
        "p:other/x3 virtio_pci:vp_setup_vq v=%di q=%si n=+0(%cx):string w=%r9\n"
        "p:vt/x4 virtio_pci:vp_setup_vq v=%di q=%si n=+0(%cx):string w=%r9\n"
        "r10:vt/x5 virtio_pci:vp_setup_vq q=+44($retval) n=+0(+24($retval)):string\n"
    )
    found, strange = recognized(listed(text), mine)
    assert [(one.name, one.number, one.returns) for one in found] == [
        ("x1", 0, False), ("x2", 0, True), ("x4", 1, False),
    ]  # fmt: skip
    assert [event.name for event in strange] == ["x5"]


def test_a_line_is_what_the_kernel_will_list() -> None:
    line = boot_line(EVERY, 9999)
    text = line.text.partition("kprobe_event=")[2]
    shown = "\n".join(part.replace(",", " ") for part in text.split(";")) + "\n"
    found, strange = recognized(listed(shown), EVERY)
    assert ([one.name for one in found], strange) == ([one.name for one in line.armed], [])


def names(found: list[Definition]) -> set[str]:
    return {one.point.name for one in found}


def test_what_can_show_something_at_boot() -> None:
    builtin = cmdline.worth_arming(EVERY, ["virtio"], modules=False)
    assert "bus_register" not in names(builtin)
    assert not names(builtin) & {"do_init_module", "virtio_device_freeze"}
    assert all(one.target.module is None for one in builtin)
    every = cmdline.worth_arming(EVERY, [], modules=True)
    assert every == EVERY


def test_for_grub_through_a_shell() -> None:
    text = boot_line(EVERY, 600).text
    assert "$retval" in text and ";" in text
    line = f'GRUB_CMDLINE_LINUX=quiet; {grub(text)}; printf %s "$GRUB_CMDLINE_LINUX"'
    done = subprocess.run(["sh", "-c", line], capture_output=True, text=True, check=True)
    assert done.stdout == "quiet " + " ".join(f"'{word}'" for word in text.split())
