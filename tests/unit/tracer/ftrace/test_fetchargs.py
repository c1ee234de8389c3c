# SPDX-License-Identifier: GPL-2.0-or-later
"""The probe table as kprobe events: compared with definitions that ran on real kernels."""

from __future__ import annotations

import pytest

from virtio_trace.tracer.bpf.wire import WireOffsets
from virtio_trace.tracer.ftrace.definitions import Definition, definitions
from virtio_trace.tracer.ftrace.fetchargs import Offsets
from virtio_trace.tracer.points import shape, table
from virtio_trace.tracer.points.resolve import ResolvedProbe
from virtio_trace.tracer.points.target import Target

# Debian's cloud kernels for amd64, by BTF; driver_table and later by their .ko files.
LINUX_6_1 = {
    "device_name": 0, "device_parent": 64, "device_bus": 96, "device_driver": 104,
    "bus_name": 0, "driver_name": 0, "virtio_device_index": 0, "virtio_device_dev": 16,
    "virtio_device_id": 760, "virtio_device_vendor": 764, "pci_dev_dev": 208,
    "pci_dev_vendor": 60, "pci_dev_device": 62, "platform_device_dev": 16,
    "virtio_device_features": 800, "virtio_device_words": 1, "virtio_device_config": 768,
    "config_extended": 0, "queue_index": 40, "queue_name": 24, "queue_free": 44,
    "module_name": 24, "driver_table": 152, "driver_table_size": 160, "driver_legacy": 168,
    "driver_legacy_size": 176,
}  # fmt: skip
LINUX_7_3 = LINUX_6_1 | {
    "virtio_device_id": 800, "virtio_device_vendor": 804, "virtio_device_features": 848,
    "virtio_device_words": 2, "virtio_device_config": 808, "config_extended": 80,
    "driver_table": 160, "driver_table_size": 168, "driver_legacy": 176,
    "driver_legacy_size": 184,
}  # fmt: skip
POINTS = {point.name: point for point in (*table.NEGOTIATION_POINTS[::-1], *table.CORE_POINTS)}


def define(
    name: str,
    offsets: Offsets = LINUX_6_1,
    machine: str = "x86_64",
    module: str | None = None,
    whole: bool = False,
) -> list[Definition]:
    point = POINTS[name]
    probes = [ResolvedProbe(point, Target(point.symbols[0], module))]
    return definitions(probes, offsets, machine, whole=whole)


def arguments(name: str, *, returns: bool = False, **more: object) -> list[str]:
    """The fetch arguments, without their names."""
    one = define(name, **more)[-1 if returns else 0]  # type: ignore[arg-type]
    assert one.returns is returns
    return [argument.partition("=")[2] for argument in one.arguments]


def test_fetch_arguments_and_the_program_use_the_same_offsets() -> None:
    known = {field[0] for field in WireOffsets._fields_}
    assert set(LINUX_6_1) >= known - {"module_load_name"}


@pytest.mark.parametrize(
    ("offsets", "tables"),
    [
        (LINUX_6_1, ["+0(+152(+104(%di)))", "+160(+104(%di))", "+168(+104(%di))",
                     "+0(+168(+104(%di)))", "+176(+104(%di))"]),
        (LINUX_7_3, ["+0(+160(+104(%di)))", "+168(+104(%di))", "+176(+104(%di))",
                     "+0(+176(+104(%di)))", "+184(+104(%di))"]),
    ],
)  # fmt: skip
def test_the_drivers_tables(offsets: Offsets, tables: list[str]) -> None:
    found = arguments("driver_features", offsets=offsets)
    assert found[1] == "+0(+0(+104(%di))):string"
    assert found[:1] + found[2:] == [
        "%di",
        *(t + ":u32[40]" * (i in (0, 3)) for i, t in enumerate(tables)),
    ]


def test_definitions_that_were_run() -> None:
    """On 6.1 and 7.3, with other names: the same registers, offsets and dereferences."""
    assert arguments("virtio_pci_probe") == ["+0(+208(%di)):string", "+60(%di)"]
    assert arguments("virtio_dev_probe") == ["%di", "+0(+0(+104(%di))):string"]
    assert arguments("set_status") == ["%di", "+0(%di)", "%si", "+800(%di)"]
    assert arguments("find_vqs") == ["%di", "%si"]
    assert arguments("setup_vq") == ["%di", "%si", "+0(%cx):string", "%r9"]
    queue = ["+40($retval)", "+0(+24($retval)):string"]
    assert arguments("setup_vq", returns=True) == queue
    assert arguments("get_features", returns=True) == ["$retval"]
    newer = arguments("set_status", offsets=LINUX_7_3)
    assert newer == ["%di", "+0(%di)", "%si", "+848(%di)", "+856(%di)"]
    extended = arguments("get_features", offsets=LINUX_7_3, returns=True)
    assert extended == ["$retval", "+0($arg2)", "+8($arg2)"]


def test_a_device_is_described_where_it_is_created_or_everywhere() -> None:
    entry, ret = define("register_virtio_device")
    assert entry.command("vt") == (
        "p:vt/r register_virtio_device v=%di a=+0(+0(+80(%di))):string "
        "b=+0(+0(+96(+80(%di)))):string d=+760(%di)"
    )
    assert ret.command("vt") == "r:vt/R register_virtio_device x=$retval"
    whole = arguments("virtio_dev_match", whole=True)
    assert whole == [
        "%di", "+0(+0(+64(%di))):string", "+0(+0(+96(+64(%di)))):string", "+744(%di)",
        "+0(%di)", "-16(%di)", "+0(+0(%si)):string",
    ]  # fmt: skip


def test_another_machines_registers() -> None:
    found = arguments("setup_vq", machine="aarch64")
    assert found == ["%x0", "%x1", "+0(%x3):string", "%x5"]
    assert define("setup_vq", machine="s390x") == []


def test_numbers_that_are_not_adjacent_are_fetched_one_by_one() -> None:
    apart = LINUX_6_1 | {"virtio_device_vendor": 900}
    assert arguments("register_virtio_device", offsets=apart)[-2:] == ["+760(%di)", "+900(%di)"]


def test_argn_is_not_used_in_a_module_that_is_not_loaded() -> None:
    """The kernel refuses ``$argN`` there: features in an array stay unknown."""
    entry, ret = define("get_features", LINUX_7_3, module="virtio_mmio")
    assert ret.command("g") == "r:g/F virtio_mmio:vp_get_features x=$retval"
    assert entry.arguments == ("v=%di", "e=+80(+808(%di))")


def test_names_are_unique_and_tell_entry_from_return() -> None:
    point = POINTS["get_features"]
    twins = [ResolvedProbe(point, Target("f", None, "_stext", at)) for at in (0x10, 0x20)]
    probes = [ResolvedProbe(POINTS["bus_register"], None, "gone"), *twins]
    found = definitions(probes, LINUX_6_1, "x86_64")
    assert [(one.name, one.number, one.returns) for one in found] == [
        ("f", 1, False), ("F", 1, True), ("f1", 2, False), ("F1", 2, True),
    ]  # fmt: skip
    assert found[1].command("g", 64) == "r64:g/F _stext+0x10 x=$retval"
    assert found[1].parameter("g") == "r:g/F,_stext+0x10,x=$retval"


def test_a_member_without_a_known_offset_is_not_fetched() -> None:
    blind = {
        n: v for n, v in LINUX_6_1.items() if not n.startswith("driver_") or n == "driver_name"
    }
    blind |= {"virtio_device_features": 0, "queue_free": 0}
    assert arguments("driver_features", offsets=blind) == ["%di", "+0(+0(+104(%di))):string"]
    assert arguments("set_status", offsets=blind) == ["%di", "+0(%di)", "%si"]
    assert arguments("setup_vq", offsets=blind, returns=True) == []


def test_no_argument_is_longer_than_the_kernel_accepts() -> None:
    """MAX_ARGSTR_LEN is 63 (kernel/trace/trace_probe.h)."""
    probes = [ResolvedProbe(point, Target(point.symbols[0], None)) for point in POINTS.values()]
    for whole in (False, True):
        for one in definitions(probes, LINUX_7_3, "x86_64", whole=whole):
            assert all(len(argument) <= 63 for argument in one.arguments)
            names = [argument.partition("=")[0] for argument in one.arguments]
            assert len(names) == len(set(names))
            assert one.point.subject != shape.NOTHING
