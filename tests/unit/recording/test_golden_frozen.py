# SPDX-License-Identifier: GPL-2.0-or-later
"""Frozen recordings: every later version reads them and finds in them what 0.1.0 found.

The .json file beside each has the expected facts, but no messages: messages may be reworded, and
members, steps and kinds of output may be added.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from tests.unit.surgery import GOLDEN
from virtio_trace.cli import main
from virtio_trace.recording import reader

FROZEN = GOLDEN / "frozen"
NAMES = ("format-1", "format-1-ftrace")

Read = Callable[..., str]


@pytest.fixture
def read(capsys: pytest.CaptureFixture[str]) -> Read:
    """What a command prints for a recording. Its exit status must be that of a verdict."""

    def read(name: str, *arguments: str) -> str:
        status = main.run([*arguments, str(FROZEN / f"{name}.vtr")])
        assert status in (0, 1, 4), capsys.readouterr().err
        return capsys.readouterr().out

    return read


def facts_of(name: str) -> dict[str, Any]:
    """What must be found in the recording NAME."""
    found: dict[str, Any] = json.loads((FROZEN / f"{name}.json").read_text("utf-8"))
    return found


def test_every_frozen_recording_is_tested() -> None:
    assert {path.stem for path in FROZEN.glob("*.vtr")} == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_it_is_unchanged(name: str) -> None:
    digest = hashlib.sha256((FROZEN / f"{name}.vtr").read_bytes()).hexdigest()
    assert digest == facts_of(name)["sha256"], "it is frozen: a new format gets a new file"


def report_facts(report: dict[str, Any]) -> dict[str, Any]:
    """What ``report`` prints for a recording."""
    names = ("events", "lost", "complete", "started_ns", "ended")
    return {
        "kernel": report["kernel"],
        "recording": {name: report["recording"][name] for name in names},
        "drivers": [
            [d["name"], d["module"], d["builtin"], d["init"], d["probe"], d["matches"]]
            for d in report["drivers"]
        ],
        "devices": [_device(device) for device in report["devices"]],
        "bindings": [_binding(binding) for binding in report["bindings"]],
        "empty_slots": report["empty_slots"],
        "boot_until": report["boot"]["until"],
    }


def _device(device: dict[str, Any]) -> dict[str, Any]:
    host = device["host"]
    return {
        **{name: device[name] for name in ("address", "generation", "name", "bus", "transport")},
        **{name: device[name] for name in ("id", "type", "vendor", "state", "driver", "snapshot")},
        "has_reason": device["reason"] is not None,
        "status": [write["value"] for write in device["status"]],
        "host": host
        and {
            "status": host["status"]["value"],
            "features": host["features"],
            "queues": [queue["size"] for queue in host["queues"]],
            "differs": [difference["step"] for difference in host["differs"]],
        },
    }


def _binding(binding: dict[str, Any]) -> dict[str, Any]:
    names = ("device", "generation", "driver", "function", "result", "errno", "step")
    return {
        **{name: binding[name] for name in (*names, "duration_ns", "interrupts")},
        "features": {
            name: binding["features"][name] for name in ("offered", "driver", "negotiated")
        },
        "status": [write["value"] for write in binding["status"]],
        "queues": [[q["name"], q["size"], q["vector"]] for q in binding["queues"] or []],
        "phases": {phase["name"]: phase["duration_ns"] for phase in binding["phases"] or []},
    }


@pytest.mark.parametrize("name", NAMES)
def test_report_finds_the_same(read: Read, name: str) -> None:
    assert (
        report_facts(json.loads(read(name, "report", "--format", "json")))
        == (facts_of(name)["report"])
    )


@pytest.mark.parametrize("profile", ["linux", "spec"])
@pytest.mark.parametrize("name", NAMES)
def test_check_judges_the_same(read: Read, name: str, profile: str) -> None:
    """Every step has the same result, and there are the same errors."""
    result = json.loads(read(name, "check", "--profile", profile, "--format", "json"))
    facts = facts_of(name)["check"][profile]
    assert result["verdict"] == facts["verdict"]
    for step, judged in facts["steps"].items():
        assert [[s["subject"], s["ok"]] for s in result["steps"] if s["id"] == step] == judged, step
    errors = [[f["step"], f["subject"]] for f in result["findings"] if f["severity"] == "error"]
    assert errors == facts["errors"]


def script_facts(text: str) -> dict[str, Any]:
    """How often each probe point was hit, and how deeply the calls are nested."""
    events = [json.loads(line) for line in text.splitlines()]
    return {
        "events": Counter(f"{e['kind']} {e.get('probe', e.get('module'))}" for e in events),
        "depths": Counter(str(event["depth"]) for event in events),
    }


@pytest.mark.parametrize("name", NAMES)
def test_script_shows_the_same_events(read: Read, name: str) -> None:
    shown = read(name, "script", "--format", "json")
    assert script_facts(shown) == facts_of(name)["script"]
    assert len(read(name, "script").splitlines()) > 100


def perfetto_facts(text: str) -> dict[str, int]:
    """The number of slices of each probe point in the timeline, over devices and threads."""
    return Counter(e["cat"] for e in json.loads(text)["traceEvents"] if e["ph"] == "B")


@pytest.mark.parametrize("name", NAMES)
def test_perfetto_draws_the_same_slices(read: Read, name: str) -> None:
    drawn = read(name, "report", "--format", "perfetto")
    assert perfetto_facts(drawn) == facts_of(name)["perfetto"]


@pytest.mark.parametrize(
    ("address", "evidence"),
    [
        ("0000:00:09.0", "but not VIRTIO_NET_F_CTRL_VQ"),  # the kernel's log
        ("0000:00:0a.0", "virtio_balloon virtio3: virtio: device refuses features: 3"),
        ("0000:00:0c.0", "module_blacklist=virtio_rng"),  # what keeps a module from being loaded
    ],
)
def test_a_reason_quotes_what_was_recorded(read: Read, address: str, evidence: str) -> None:
    report = json.loads(read("format-1", "report", "--format", "json"))
    (device,) = (d for d in report["devices"] if d["address"] == address)
    bindings = [b["reason"] or "" for b in report["bindings"] if b["device"] == address]
    assert evidence in " ".join([device["reason"], *bindings])


@pytest.mark.parametrize("name", NAMES)
def test_the_reader_drops_nothing_of_header_and_trailer(name: str) -> None:
    """Not even what no command shows for these recordings: it may matter in another one."""
    data = (FROZEN / f"{name}.vtr").read_bytes().splitlines(keepends=True)
    found = reader.read(data, name)
    header, trailer = json.loads(data[0]), json.loads(data[-1])
    assert found.header.started_ns == header["started_ns"]
    initrd = header.get("initrd")
    assert (found.header.initrd and [*found.header.initrd.modules]) == (
        initrd and initrd["modules"]
    )
    boot = header.get("boot") or {"probes": []}
    assert [(p.probe, p.state, p.reason) for p in found.header.boot_probes] == [
        (p["probe"], p["state"], p["reason"]) for p in boot["probes"]
    ]
    assert found.trailer is not None
    parts = {"final": "end_state", "log": "log", "host": "host"}
    for part, attribute in parts.items():
        kept = json.loads(json.dumps(getattr(found.trailer, attribute).to_json()))
        assert kept == kept | trailer[part], part


def test_format_1_has_all_that_its_format_can_hold() -> None:
    """Otherwise a reader that drops a member would not be noticed."""
    lines = [json.loads(line) for line in (FROZEN / "format-1.vtr").read_text().splitlines()]
    header, *events, trailer = lines
    for name in ("snapshot", "evidence", "forbidden", "initrd", "probes"):
        assert header[name], name
    assert header["boot"]["events"] > 50 and header["boot"]["lost"] == 0
    assert header["snapshot"]["devices"] and header["snapshot"]["drivers"]
    for name in ("probes", "final", "forbidden"):
        assert trailer[name], name
    assert trailer["final"]["devices"] and trailer["final"]["pci"] and trailer["final"]["modules"]
    assert trailer["final"]["initrd_left"] is True
    assert trailer["log"]["lines"] and len(trailer["host"]["devices"]) == 6
    assert {event["kind"] for event in events} == {"entry", "return", "hit", "module"}
    members = {member for event in events for member in event.get("detail", {})}
    assert members == {"status", "features", "legacy", "count", "queue", "name", "size", "vector"}


def test_format_1_ftrace_has_the_members_of_the_trace_ring() -> None:
    header = json.loads((FROZEN / "format-1-ftrace.vtr").read_text().splitlines()[0])
    assert header["collector"] == "ftrace"
    assert header["user_space_ns"] > 0
