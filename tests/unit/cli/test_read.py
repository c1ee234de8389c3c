# SPDX-License-Identifier: GPL-2.0-or-later
"""report, check, graph and script as a user runs them: results and statuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.unit.cli.reading import RECORDINGS, Run
from tests.unit.surgery import GOLDEN, at, dump, entry_lost, golden


def test_there_are_recordings() -> None:
    assert RECORDINGS


@pytest.mark.parametrize("path", RECORDINGS, ids=lambda path: path.stem)
def test_report_json_has_each_binding_that_the_kernel_made(run: Run, path: Path) -> None:
    status, out, _ = run("report", path, "--format", "json")
    assert status == 0
    report = json.loads(out)
    lines = golden(path.stem)
    events, lost = lines[1:-1], entry_lost(lines)
    whole = [e for e in events if e["seq"] not in lost]
    returns = [e for e in whole if at("virtio_dev_probe", kind="return")(e)]
    assert sorted(
        (b["device"], b["driver"], b["result"], b["duration_ns"]) for b in report["bindings"]
    ) == sorted(
        (e["device"]["address"], e["driver"], e["result"], e["duration_ns"]) for e in returns
    )
    probes = [e for e in whole if at("driver_probe", kind="entry")(e)]
    functions = [b["function"] for b in report["bindings"] if b["function"] is not None]
    assert functions == [e["function"] for e in probes]
    assert report["recording"]["events"] == len(events)


@pytest.mark.parametrize("path", RECORDINGS, ids=lambda path: path.stem)
def test_the_exit_status_of_check_is_its_verdict(run: Run, path: Path) -> None:
    status, out, _ = run("check", path, "--format", "json")
    result = json.loads(out)
    assert status == {"CONFORMS": 0, "DEVIATES": 1, "INCOMPLETE": 4}[result["verdict"]]
    text_status, text, _ = run("check", path)
    assert text_status == status
    assert text.splitlines()[-1].startswith(result["verdict"])


@pytest.mark.parametrize("path", RECORDINGS, ids=lambda path: path.stem)
def test_script_json_has_the_events_of_the_recording(run: Run, path: Path) -> None:
    _, out, _ = run("script", path, "--format", "json")
    printed = [json.loads(line) for line in out.splitlines()]
    assert all(isinstance(event.pop("depth"), int) for event in printed)
    assert printed == [json.loads(line) for line in path.read_text().splitlines()[1:-1]]


def test_a_filter_does_not_change_depths(run: Run) -> None:
    def depths(*options: str) -> dict[int, int]:
        _, out, _ = run("script", GOLDEN / "debian-6.1.vtr", "--format", "json", *options)
        return {event["seq"]: event["depth"] for event in map(json.loads, out.splitlines())}

    whole, some = depths(), depths("--device", "0000:00:02.0")
    assert some and len(some) < len(whole)
    assert some == {seq: whole[seq] for seq in some}


def test_a_failed_binding_in_every_format(run: Run, failing: Path) -> None:
    status, out, _ = run("check", failing)
    assert status == 1
    assert "virtblk_probe [virtio_blk] returned -12 (ENOMEM)" in out
    assert run("report", failing)[1].count("-12 ENOMEM") == 1
    failed = [
        b
        for b in json.loads(run("report", failing, "--format", "json")[1])["bindings"]
        if b["result"]
    ]
    assert [(b["errno"], b["step"], b["function"]) for b in failed] == [
        ("ENOMEM", "driver-probed", "virtblk_probe")
    ]
    assert "-12 ENOMEM" in run("graph", failing)[1]
    assert run("script", failing)[1].count("= -12 ENOMEM") == 2


def test_script_of_one_device(run: Run) -> None:
    lines = golden("debian-6.1")
    address = next(e["device"]["address"] for e in lines if "device" in e)
    status, out, _ = run(
        "script", GOLDEN / "debian-6.1.vtr", "--device", address, "--format", "json"
    )
    assert status == 0
    about = [e["seq"] for e in lines if e.get("device", {}).get("address") == address]
    assert [json.loads(line)["seq"] for line in out.splitlines()] == about


def test_script_of_one_driver_includes_the_load_of_its_module(run: Run) -> None:
    _, out, _ = run("script", GOLDEN / "debian-6.1.vtr", "--driver", "virtio_net")
    assert "load module virtio_net" in out
    assert "virtio_blk" not in out


@pytest.mark.parametrize(
    ("option", "there"), [("--device", "0000:00:02.0"), ("--driver", "virtio_net")]
)
def test_script_of_an_unknown_name_lists_the_known_ones(run: Run, option: str, there: str) -> None:
    status, out, err = run("script", GOLDEN / "debian-6.1.vtr", option, "nowhere")
    assert (status, out) == (2, "")
    assert there in "".join(err.splitlines()[1:])


def test_script_of_a_driver_without_events_prints_nothing(run: Run, tmp_path: Path) -> None:
    (path := tmp_path / "cut.vtr").write_bytes(b"".join(dump(golden("debian-6.12-rebind")[:93])))
    status, out, err = run("script", path, "--driver", "virtio_blk")
    assert (status, out) == (2, "")
    assert "virtio_blk" in err


def test_lost_events_are_a_warning_and_no_failure(run: Run, tmp_path: Path) -> None:
    lines = golden("debian-6.1")
    lines[-1]["lost"] = 3
    path = tmp_path / "lost.vtr"
    path.write_bytes(b"".join(dump(lines)))
    for command in ("report", "graph", "script"):
        status, out, err = run(command, path)
        assert (status, bool(out)) == (0, True)
        assert err == "virtio-trace: warning: 3 events were lost\n"
    status, out, err = run("check", path)
    assert (status, err) == (4, "")
    assert "3 events were lost" in out


def test_script_names_bits_and_verbose_has_them_in_hexadecimal(run: Run) -> None:
    path = GOLDEN / "debian-6.1-failures.vtr"
    _, out, _ = run("script", path)
    assert "status=ACKNOWLEDGE|DRIVER|FEATURES_OK" in out
    assert " offers=CTRL_GUEST_OFFLOADS|MAC|MRG_RXBUF|STATUS|" in out
    assert "=0x" not in out
    _, out, _ = run("script", "-v", path)
    assert "status=0xb (ACKNOWLEDGE DRIVER FEATURES_OK)" in out
    assert " offers=0x" in out
