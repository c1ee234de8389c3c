# SPDX-License-Identifier: GPL-2.0-or-later
"""The guest's view against the host's: the recording of a real boot, and modifications of it.

In tests/golden/debian-6.1-host.vtr, the rng at 04.0 was reset without its driver.
"""

from __future__ import annotations

import io
import json

import pytest

from tests.unit.surgery import Line, at, change, dump, golden, judge, remove
from virtio_trace.check import linux_steps
from virtio_trace.check.findings import CONFORMS, DEVIATES, ERROR, INCOMPLETE, Result
from virtio_trace.check.profiles import SPEC
from virtio_trace.errors import BadInputError
from virtio_trace.graph import builder
from virtio_trace.recording import host_view, reader
from virtio_trace.render import json as json_renderer
from virtio_trace.render import text
from virtio_trace.report import summary

NET, REFUSED, RESET, LEGACY, BEHIND = (
    "0000:00:02.0", "0000:00:03.0", "0000:00:04.0", "0000:00:05.0", "0000:01:02.0",
)  # fmt: skip
STEPS = [step.id for step in linux_steps.HOST_STEPS]


@pytest.fixture
def lines() -> list[Line]:
    return golden("debian-6.1-host")


def host(lines: list[Line], address: str) -> dict[str, object]:
    """The host's device at ADDRESS, for changing it."""
    found: list[dict[str, object]] = lines[-1]["host"]["devices"]
    return next(device for device in found if device["address"] == address)


def steps(result: Result) -> dict[str, list[bool | None]]:
    """The results of the three host steps, by subject."""
    return {
        address: [s.ok for s in result.steps if s.subject == address and s.id in STEPS]
        for address in (NET, REFUSED, RESET, LEGACY, BEHIND)
    }


def errors(lines: list[Line]) -> list[tuple[str, str]]:
    """The errors in host steps."""
    found = judge(lines).findings
    return [(f.step, f.subject) for f in found if f.severity == ERROR and f.step in STEPS]


def the_rest(lines: list[Line]) -> list[Line]:
    """LINES without the two devices that deviate."""
    gone = (REFUSED, RESET)
    trailer = lines[-1]
    for holder in (trailer["host"], trailer["final"]):
        holder["devices"] = [d for d in holder["devices"] if d["address"] not in gone]
    trailer["final"]["pci"] = [d for d in trailer["final"]["pci"] if d["address"] not in gone]
    return remove(lines, lambda line: line.get("device", {}).get("address") in gone)


def test_a_device_that_was_reset_behind_its_drivers_back(lines: list[Line]) -> None:
    result = judge(lines)
    assert result.verdict == DEVIATES
    (found,) = [f for f in result.findings if f.subject == RESET]
    assert (found.severity, found.step) == (ERROR, "host-status")
    assert "virtio_rng has the device" in found.message and "0x00 (reset)" in found.message
    last = [line["seq"] for line in lines if at("set_status", RESET)(line)][-1]
    assert found.events == (last,)


def test_the_others_agree(lines: list[Line]) -> None:
    assert steps(judge(lines)) == {
        NET: [True] * 3, REFUSED: [True], RESET: [False], LEGACY: [True] * 3, BEHIND: [True] * 3,
    }  # fmt: skip
    assert errors(lines) == [("host-status", RESET)]


def test_what_agrees_conforms(lines: list[Line]) -> None:
    assert judge(the_rest(lines)).verdict == CONFORMS


def test_without_the_hosts_view_nothing_is_said(lines: list[Line]) -> None:
    del lines[-1]["host"]
    assert steps(judge(lines)) == {address: [] for address in steps(judge(lines))}
    assert errors(lines) == []


def test_the_specifications_profile_has_no_host(lines: list[Line]) -> None:
    assert not any(steps(judge(lines, SPEC)).values())


STATUS = "VIRTIO_CONFIG_S_"


def test_no_driver_but_it_runs(lines: list[Line]) -> None:
    host(lines, REFUSED)["status"] = host(lines, NET)["status"]
    assert ("host-status", REFUSED) in errors(lines)


def test_a_device_that_wants_to_be_reset(lines: list[Line]) -> None:
    shown = host(lines, NET)["status"]
    assert isinstance(shown, dict)
    shown["names"].append(f"{STATUS}NEEDS_RESET")
    assert ("host-status", NET) in errors(lines)


def test_another_status_than_was_written(lines: list[Line]) -> None:
    host(lines, REFUSED)["status"] = {"names": [f"{STATUS}ACKNOWLEDGE"], "unknown": "0x0"}
    assert ("host-status", REFUSED) in errors(lines)


def test_a_status_of_an_unknown_name_is_compared_with_nothing(lines: list[Line]) -> None:
    host(lines, RESET)["status"] = {"names": [f"{STATUS}FROZEN"], "unknown": "0x0"}
    assert errors(lines) == []
    assert steps(judge(lines))[RESET] == []


def test_the_last_write_where_not_all_were_seen(lines: list[Line]) -> None:
    """Then only sysfs at the end can be compared."""
    host(lines, REFUSED)["status"] = {"names": [f"{STATUS}ACKNOWLEDGE"], "unknown": "0x0"}
    lines[-1]["lost"] = 1
    assert errors(lines) == [("host-status", RESET)]
    lines[-1]["final"] = None
    assert errors(lines) == []


def test_between_two_writes_nothing_is_compared(lines: list[Line]) -> None:
    running = remove(lines, at("virtio_pci_probe", NET, kind="return"))
    assert not any(steps(judge(running)).values())


@pytest.mark.parametrize("address", [NET, LEGACY])
def test_features(address: str, lines: list[Line]) -> None:
    shown = host(lines, address)["guest_features"]
    assert isinstance(shown, dict)
    name = "VIRTIO_NET_F_MAC"
    shown["names"].remove(name)
    assert ("host-features", address) in errors(lines)
    shown["names"].append("VIRTIO_NET_F_FROM_THE_FUTURE")  # may be the removed bit
    assert ("host-features", address) not in errors(lines)
    shown["names"] += [name, "VIRTIO_NET_F_MQ"]
    assert ("host-features", address) in errors(lines)


def test_features_that_have_no_name_in_qemu(lines: list[Line]) -> None:
    shown = host(lines, NET)["guest_features"]
    assert isinstance(shown, dict)
    assert shown["unknown"] == "0x10000000000"  # VIRTIO_F_RING_RESET, which QEMU 7.2 does not name
    shown["unknown"] = hex(1 << 41)
    messages = [f.message for f in judge(lines).findings if f.step == "host-features"]
    assert len(messages) == 1
    assert "VIRTIO_F_ADMIN_VQ" in messages[0] and "VIRTIO_F_RING_RESET" in messages[0]


def test_features_by_sysfs_where_the_binding_was_not_seen(lines: list[Line]) -> None:
    lines[-1]["lost"] = 1
    assert steps(judge(lines))[NET] == [True, True]
    (net,) = [d for d in lines[-1]["final"]["devices"] if d["address"] == NET]
    net["features"] = "1" + net["features"][1:]
    assert ("host-features", NET) in errors(lines)


def test_queues(lines: list[Line]) -> None:
    """The virtqueues of a legacy device cannot be resized."""
    queues = host(lines, LEGACY)["queues"]
    assert isinstance(queues, list)
    queues[1]["size"] = 128
    assert ("host-queues", LEGACY) in errors(lines)
    queues[1].update(size=256, ready=False)
    assert ("host-queues", LEGACY) in errors(lines)
    queues[1]["ready"] = True
    queues.append({"index": 3, "size": 64, "ready": True})
    assert ("host-queues", LEGACY) in errors(lines)


def test_queues_that_may_have_been_resized_are_unknown(lines: list[Line]) -> None:
    lines = the_rest(lines)
    queues = host(lines, NET)["queues"]
    assert isinstance(queues, list)
    queues[1]["size"] = 128
    result = judge(lines)
    assert result.verdict == INCOMPLETE
    (found,) = [f for f in result.findings if f.step == "host-queues"]
    assert "128" in found.message and "VIRTIO_F_RING_RESET" in found.message


def test_a_queue_of_another_size_in_the_guest(lines: list[Line]) -> None:
    setups = at("setup_vq", LEGACY, kind="return")
    first = next(line for line in lines if setups(line))
    detail = {**first["detail"], "size": 1024}
    changed = change(lines, lambda line: line is first, detail=detail)
    assert ("host-queues", LEGACY) in errors(changed)


def test_devices_on_one_side_alone(lines: list[Line]) -> None:
    host(lines, NET)["address"] = None
    host(lines, BEHIND)["address"] = "0000:02:02.0"
    said = {(f.severity, f.subject) for f in judge(lines).findings if f.step == "host-status"}
    assert said == {
        ("error", RESET),
        ("note", "/machine/peripheral-anon/device[0]/virtio-backend"),
        ("warning", "0000:02:02.0"),
    }


def test_the_report_has_both(lines: list[Line]) -> None:
    found = summary.summarize(builder.build(reader.read(dump(lines), "host")))
    by_address = {device["address"]: device["host"] for device in found["devices"]}
    assert by_address[NET]["status"]["value"] == 0x0F
    assert by_address[NET]["queues"][2] == {
        "index": 2,
        "size": 64,
        "completions": None,
    }
    assert by_address[NET]["differs"] == []
    (differs,) = by_address[RESET]["differs"]
    assert differs["step"] == "host-status"
    (negotiated,) = [b["features"]["negotiated"] for b in found["bindings"] if b["device"] == NET]
    assert by_address[NET]["features"] == negotiated


def test_a_recording_in_which_qemu_could_not_be_asked(lines: list[Line]) -> None:
    view = host_view.HostView("QEMU 6.2.0", None, "QEMU: x-query-virtio: not found")
    lines[-1]["host"] = view.to_json()
    assert errors(lines) == []
    read = reader.read(dump(lines), "host")
    assert read.trailer is not None and read.trailer.host == view


@pytest.mark.parametrize(
    ("member", "value"),
    [
        ("status", "0x0f"), ("status", {"names": "x", "unknown": "0x0"}),
        ("status", {"names": [], "unknown": "-0x1"}), ("guest_features", {"names": []}),
        ("queues", [{"index": 0, "size": 1, "ready": 1}]), ("queues", [{"index": -1}]),
        ("id", "1"), ("path", None), ("address", 5), ("queues", {}), ("id", True),
        ("host_features", {"names": [], "unknown": "0x" + "f" * 33}),
    ],
)  # fmt: skip
def test_damage(member: str, value: object, lines: list[Line]) -> None:
    host(lines, NET)[member] = value
    with pytest.raises(BadInputError, match="damaged trailer: host"):
        reader.read(dump(lines), "host")


def test_what_is_written_is_read(lines: list[Line]) -> None:
    raw = lines[-1]["host"]
    view = host_view.HostView.from_json(raw)
    assert host_view.HostView.from_json(view.to_json()) == view


def on_mmio(lines: list[Line], base: int | None) -> Result:
    """The check with NET on virtio-mmio, as ACPI names it; its registers are at BASE."""
    renamed = dump(lines)
    changed = [
        json.loads(line.replace(NET.encode(), b"LNRO0005:00")) if n < len(renamed) - 1 else lines[n]
        for n, line in enumerate(renamed)
    ]
    for device in lines[-1]["final"]["devices"]:
        if device["address"] == NET:
            device.update(address="LNRO0005:00", bus="platform", base=base)
    host(lines, NET).update(bus="platform", address="feb02e00.virtio_mmio")
    return judge(changed)


def test_virtio_mmio_is_found_by_its_registers(lines: list[Line]) -> None:
    result = on_mmio(the_rest(lines), 0xFEB02E00)
    assert [s.ok for s in result.steps if s.subject == "LNRO0005:00" and s.id in STEPS] == [
        True
    ] * 3
    assert result.unplaced == 0


def test_virtio_mmio_elsewhere_is_not_in_the_guest(lines: list[Line]) -> None:
    result = on_mmio(the_rest(lines), 0xFEB02C00)
    assert result.unplaced == 0
    (found,) = [f for f in result.findings if f.subject == "feb02e00.virtio_mmio"]
    assert (found.severity, found.step) == ("warning", "host-status")


@pytest.mark.parametrize("pci", [True, False])
def test_a_device_that_cannot_be_placed_is_counted(lines: list[Line], pci: bool) -> None:
    """In another PCI domain, or on virtio-mmio in a guest that does not show its registers."""
    lines = the_rest(lines)
    if pci:
        host(lines, NET)["address"] = None
        result = judge(lines)
    else:
        result = on_mmio(lines, None)
    assert result.unplaced == 1
    assert [f.severity for f in result.findings if "cannot be identified" in f.message] == ["note"]
    out = io.StringIO()
    text.text(result, out)
    assert (
        out.getvalue().splitlines()[-1].endswith("; 1 device of the host not placed in the guest")
    )
    out = io.StringIO()
    json_renderer.check(result, out)
    assert json.loads(out.getvalue())["unplaced"] == 1


def test_a_verdict_of_which_every_device_is_placed(lines: list[Line]) -> None:
    out = io.StringIO()
    text.text(judge(lines), out)
    assert out.getvalue().splitlines()[-1].endswith(" passed, 2 errors, 1 note")
