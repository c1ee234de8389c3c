# SPDX-License-Identifier: GPL-2.0-or-later
"""What each golden recording is for; tests/golden/README.md has their commands."""

from __future__ import annotations

import re
import subprocess
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.unit.surgery import GOLDEN, Line, at, dump, entry_lost, golden, judge
from virtio_trace.graph import builder
from virtio_trace.recording import reader
from virtio_trace.report import summary

TOP = Path(__file__).resolve().parents[3]
NAMES = [path.stem for path in sorted(GOLDEN.glob("*.vtr"))]
LOSSY = ("debian-6.1-lossy", "debian-6.12-overrun")
AGENTLESS = ("debian-6.1-ftrace", "debian-6.1-lossy", "debian-arm64-6.12", "debian-arm64-6.12-mmio")


def report(lines: list[Line]) -> dict[str, Any]:
    return summary.summarize(builder.build(reader.read(dump(lines), "test")))


def documented() -> dict[str, str]:
    """The verdict in the README of each recording that its commands make."""
    text = (GOLDEN / "README.md").read_text("utf-8")
    found = re.findall(r"\n\n([^`\n](?:[^\n]|\n(?!\n))*):\n\n```sh\n(.*?)```", text, re.DOTALL)
    return {
        re.findall(r"-o tests/golden/(\S+)\.vtr", command)[0]: re.findall(
            r"CONFORMS|DEVIATES|INCOMPLETE", said
        )[0]
        for said, command in found
    }


def test_make_golden_makes_every_recording_but_the_frozen() -> None:
    """The commands are those that tools/fenced-sh passes to the shell. The README also lists every
    recording."""
    done = subprocess.run(
        [TOP / "tools" / "fenced-sh", GOLDEN / "README.md"],
        check=True,
        capture_output=True,
        text=True,
    )
    assert sorted(re.findall(r"-o tests/golden/(\S+)\.vtr", done.stdout)) == sorted(NAMES)
    assert "frozen" not in done.stdout
    assert sorted(documented()) == sorted(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_the_verdict_is_the_one_that_the_readme_names(name: str) -> None:
    assert judge(golden(name)).verdict == documented()[name]


@pytest.mark.parametrize("name", NAMES)
def test_machine_and_collector(name: str) -> None:
    lines = golden(name)
    machine = "aarch64" if "arm64" in name else "x86_64"
    assert report(lines)["kernel"]["machine"] == machine
    assert lines[0]["kernel"]["machine"] == machine
    assert lines[0].get("collector") == ("ftrace" if name in AGENTLESS else None)
    assert ("user_space_ns" in lines[0]) is (name in AGENTLESS)


@pytest.mark.parametrize("name", NAMES)
def test_only_the_lossy_ones_lost_events(name: str) -> None:
    """``lost`` is the number of missing sequence numbers, and the report is not complete."""
    lines = golden(name)
    seqs = [0, *(line["seq"] for line in lines[1:-1])]
    lost = sum(after - before - 1 for before, after in pairwise(seqs))
    assert lines[-1]["lost"] == lost
    assert (lost > 0) is (name in LOSSY)
    assert bool(entry_lost(lines)) is (name in LOSSY)
    recording = report(lines)["recording"]
    assert (recording["lost"], recording["complete"]) == (lost, lost == 0)


def _gap(lines: list[Line]) -> tuple[int, int]:
    """The sequence numbers before and after the only gap."""
    seqs = [0, *(line["seq"] for line in lines[1:-1])]
    (gap,) = ((before, after) for before, after in pairwise(seqs) if after != before + 1)
    return gap


@pytest.mark.parametrize("name", LOSSY)
def test_lost_events_are_a_warning_and_no_error(name: str) -> None:
    """What was not seen proves no deviation."""
    lines = golden(name)
    result = judge(lines)
    lost = [f for f in result.findings if f.message == f"{lines[-1]['lost']} events were lost"]
    assert [finding.severity for finding in lost] == ["warning"]
    assert not [f for f in result.findings if f.severity == "error"]


def test_the_lossy_one_is_complete_before_and_after_its_gap() -> None:
    lines = golden("debian-6.1-lossy")
    before, after = _gap(lines)
    assert before > 100
    bindings = report(lines)["bindings"]
    seen = [b["device"] for b in bindings if b["started_ns"] < _ns(lines, before)]
    assert seen == ["0000:00:02.0", "0000:00:03.0", "0000:00:04.0"]
    rebound = [b for b in bindings if b["started_ns"] > _ns(lines, after)]
    assert [b["device"] for b in rebound] == ["0000:00:03.0", "0000:00:04.0"]
    for binding in rebound:
        assert [status["value"] for status in binding["status"]] == [3, 11, 15]
        assert (binding["result"], len(binding["queues"])) == (0, 1)


def _ns(lines: list[Line], seq: int) -> int:
    (found,) = (line["ns"] for line in lines[1:-1] if line["seq"] == seq)
    return int(found)


def test_the_overrun_ring_lost_the_first_events_of_the_boot() -> None:
    lines = golden("debian-6.12-overrun")
    header, trailer = lines[0], lines[-1]
    before, after = _gap(lines)
    assert (before, after) == (0, trailer["lost"] + 1)
    assert header["boot"]["lost"] == trailer["lost"] > 0
    assert header["boot"]["reason"] is None
    # The ring kept the console's last virtqueues of 64, but not the events that name it.
    unknown = [e for e in lines if at("setup_vq", kind="return")(e) and "device" not in e]
    queues = [event["detail"]["queue"] for event in unknown]
    assert 0 < len(queues) < 64 and queues == list(range(64 - len(queues), 64))
    devices = {device["address"]: device for device in report(lines)["devices"]}
    assert all(device["snapshot"] for device in devices.values())
    assert {a: d["driver"] for a, d in devices.items()} == {
        "0000:00:02.0": "virtio_net",
        "0000:00:03.0": "virtio_console",
    }
    # virtio_net is a module: it was loaded later, and its binding is complete.
    (binding,) = report(lines)["bindings"]
    assert (binding["driver"], binding["function"]) == ("virtio_net", "virtnet_probe")
    assert [status["value"] for status in binding["status"]] == [3, 11, 15]


def test_arm64_with_pci() -> None:
    found = report(golden("debian-arm64-6.12"))
    assert {d["address"]: (d["transport"], d["driver"]) for d in found["devices"]} == {
        "0000:00:02.0": ("pci-modern", "virtio_net"),
        "0000:00:03.0": ("pci-modern", "virtio_blk"),
        "0000:00:04.0": ("pci-modern", "virtio_rng"),
    }
    assert all(binding["interrupts"] == "msix" for binding in found["bindings"])
    assert len(found["empty_slots"]) == 32


def test_arm64_with_mmio() -> None:
    """The board has 32 slots; QEMU fills them from the last one down."""
    lines = golden("debian-arm64-6.12-mmio")
    found = report(lines)
    assert len(found["empty_slots"]) == 32 - 3
    assert {d["transport"] for d in found["devices"]} == {"mmio"}
    devices = {(d["address"], d["generation"]): d["state"] for d in found["devices"]}
    assert devices == {
        ("a003e00.virtio_mmio", 0): "bound",
        ("a003c00.virtio_mmio", 0): "bound",
        ("a003a00.virtio_mmio", 0): "removed",
        ("a003a00.virtio_mmio", 1): "bound",
    }
    functions = [(b["device"], b["generation"], b["function"]) for b in found["bindings"]]
    assert sorted(functions) == [
        ("a003a00.virtio_mmio", 0, "virtrng_probe"),
        ("a003a00.virtio_mmio", 0, "virtrng_probe"),
        ("a003a00.virtio_mmio", 1, "virtrng_probe"),
        ("a003c00.virtio_mmio", 0, "virtblk_probe"),
        ("a003e00.virtio_mmio", 0, "virtnet_probe"),
    ]
    for binding in found["bindings"]:
        assert [status["value"] for status in binding["status"]] == [3, 11, 15]
        assert binding["interrupts"] is None
        assert all(queue["size"] and queue["vector"] is None for queue in binding["queues"])
    probes = [e for e in lines if at("virtio_mmio_probe", kind="return")(e)]
    results = [e["result"] for e in probes]
    assert (results.count(-19), results.count(0), len(results)) == (29, 4, 33)


@pytest.mark.parametrize("name", [n for n in AGENTLESS if n not in LOSSY])
def test_the_host_agrees_with_the_trace_ring(name: str) -> None:
    found = report(golden(name))
    present = [d for d in found["devices"] if d["state"] != "removed"]
    assert len(present) == 3
    for device in present:
        assert device["state"] == "bound"
        assert device["host"]["status"]["value"] == device["status"][-1]["value"] == 15
        assert device["host"]["queues"] and device["host"]["differs"] == []


def test_both_collectors_agree_on_one_kernel() -> None:
    """The default devices of Debian 6.1, recorded by the trace ring and by the eBPF programs."""
    ours, theirs = report(golden("debian-6.1-ftrace")), report(golden("debian-6.1"))
    for name in ("bindings", "devices", "drivers"):
        assert _timeless(ours[name]) == _timeless(theirs[name])


def _timeless(value: Any) -> Any:
    if isinstance(
        value, dict
    ):  # debian-6.1.vtr is older than the host view, and than the bus in final
        known = {k: v for k, v in value.items() if k not in ("ns", "host", "in_sysfs")}
        return {k: _timeless(v) for k, v in known.items() if not k.endswith("_ns")}
    return [_timeless(item) for item in value] if isinstance(value, list) else value
