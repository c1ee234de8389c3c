# SPDX-License-Identifier: GPL-2.0-or-later
"""--device and --driver of the commands that read, and what selects events of script."""

from __future__ import annotations

import contextlib
import itertools
import json
import subprocess
import sys
import threading
from pathlib import Path
from typing import IO, Any

import pytest

from tests.unit.cli.reading import Run
from tests.unit.surgery import GOLDEN, at, change, dump, golden

LIVE = GOLDEN / "debian-6.1-live.vtr"
NET, DISK, RNG, OTHER_NET, SCSI = (f"0000:00:{slot:02x}.0" for slot in range(2, 7))


def events(run: Run, *options: str, path: Path = LIVE) -> list[dict[str, Any]]:
    status, out, err = run("script", path, "--format", "json", *options)
    assert status == 0, err
    return [json.loads(line) for line in out.splitlines()]


def test_check_of_one_device(run: Run) -> None:
    status, out, _ = run("check", LIVE, "--device", "vda")
    assert status == 0
    assert out.splitlines()[-1].startswith("CONFORMS")
    assert NET not in out
    (cells,) = [line.split() for line in out.splitlines() if line.startswith(DISK)]
    assert cells == [DISK, "before", "before", "ok", "ok", "ok"]


def test_what_was_there_before_is_one_line(run: Run) -> None:
    status, out, _ = run("check", LIVE)
    assert status == 4
    assert "before the recording: the bus, 4 drivers, 5 devices" in out
    assert "WARNINGS" not in out and "?" not in out
    (cells,) = [line.split() for line in out.splitlines() if line.startswith(RNG)]
    assert cells == [RNG, "before", "before", "before", "-", "-"]


def test_the_json_says_what_was_asked(run: Run) -> None:
    status, out, _ = run("check", LIVE, "--device", "vda", "--format", "json")
    found = json.loads(out)
    assert (status, found["verdict"]) == (0, "CONFORMS")
    assert found["scope"] == {"devices": [DISK], "drivers": ["virtio_blk"]}
    before = [step["id"] for step in found["steps"] if step.get("before")]
    assert before == [
        "bus-registered", "driver-loaded", "driver-registered", "transport-probed",
        "device-registered",
    ]  # fmt: skip
    assert "scope" not in json.loads(run("check", LIVE, "--format", "json")[1])


def test_report_of_one_driver(run: Run) -> None:
    _, out, _ = run("report", LIVE, "--driver", "virtio_net", "--format", "json")
    found = json.loads(out)
    assert {device["address"] for device in found["devices"]} == {NET, OTHER_NET}
    assert [driver["name"] for driver in found["drivers"]] == ["virtio_net"]
    assert found["bindings"] == []
    assert found["scope"]["devices"] == [NET, OTHER_NET]
    _, out, _ = run("report", LIVE, "--device", "vda")
    assert DISK in out and NET not in out


@pytest.mark.parametrize("options", [("graph",), ("report", "--format", "perfetto")])
def test_pictures_of_one_device(run: Run, options: tuple[str, ...]) -> None:
    path = GOLDEN / "debian-6.1.vtr"
    whole, part = run(*options, path)[1], run(*options, path, "--device", NET)[1]
    assert RNG in whole and RNG not in part
    assert "virtrng_probe" in whole and "virtrng_probe" not in part
    assert NET in part and "virtnet_probe" in part


@pytest.mark.parametrize("command", ["check", "report", "graph", "script"])
@pytest.mark.parametrize("option", ["--device", "--driver"])
def test_an_unknown_name(run: Run, command: str, option: str) -> None:
    status, out, err = run(command, LIVE, option, "nowhere")
    assert (status, out) == (2, "")
    assert ("vda" if option == "--device" else "virtio_blk") in err


def test_warnings_about_others_are_left_out(run: Run, tmp_path: Path) -> None:
    lines = golden("debian-6.1-live")
    for state in lines[-1]["probes"]:
        if state["function"] == "virtnet_probe":
            state.update(state="not armed", reason="no")
    (path := tmp_path / "x.vtr").write_bytes(b"".join(dump(lines)))
    assert "virtnet_probe" in run("report", path)[2]
    assert run("report", path, "--device", "vda")[2] == ""
    assert "virtnet_probe" in run("report", path, "--device", "eth0")[2]


def test_without_the_events_of_boot(run: Run, tmp_path: Path) -> None:
    """The snapshot then shows what was there, and events keep their numbers."""
    lines = golden("debian-6.12")
    for probe in ("driver_probe", "virtio_dev_probe"):
        lines = change(lines, at(probe, kind="return"), result=-12)
    (path := tmp_path / "x.vtr").write_bytes(b"".join(dump(lines)))
    whole = json.loads(run("check", path, "--format", "json")[1])
    part = json.loads(run("check", path, "--format", "json", "--no-boot-events")[1])
    assert not any("before" in step for step in whole["steps"])
    before = {step["subject"] for step in part["steps"] if step.get("before")}
    assert {NET, "virtio_console"} <= before
    errors = [f for f in part["findings"] if f["severity"] == "error"]
    assert [f for f in whole["findings"] if f["severity"] == "error"] == errors != []
    assert min(number for f in errors for number in f["events"]) > lines[0]["boot"]["events"]


# -- script


def test_names_of_a_device(run: Run) -> None:
    by_address = events(run, "--device", DISK)
    assert by_address
    for name in ("virtio1", "vda", "/dev/vda"):
        assert events(run, "--device", name) == by_address


def test_probes_by_name_and_wildcard(run: Run) -> None:
    found = {event.get("function") for event in events(run, "--probe", "virtio_dev_*")}
    assert found == {"virtio_dev_match", "virtio_dev_probe", "virtio_dev_remove"}
    assert {e["probe"] for e in events(run, "--probe", "virtblk_probe")} == {"driver_probe"}
    several = events(run, "--probe", "reset", "--probe", "find_vqs")
    assert {event["probe"] for event in several} == {"reset", "find_vqs"}
    loads = events(run, "--probe", "module_load", path=GOLDEN / "debian-6.1.vtr")
    assert {event["kind"] for event in loads} == {"module"}
    status, out, err = run("script", LIVE, "--probe", "nothing")
    assert (status, out) == (2, "") and "virtio_dev_probe" in err


def test_threads_by_number_and_name(run: Run) -> None:
    path = GOLDEN / "debian-6.1.vtr"
    whole = events(run, path=path)
    tid, comm = whole[-1]["tid"], whole[-1]["comm"]
    of_thread = [event for event in whole if event["tid"] == tid]
    assert events(run, "--thread", str(tid), path=path) == of_thread
    of_name = [event for event in whole if event["comm"] == comm]
    assert events(run, "--thread", comm, path=path) == of_name
    assert events(run, "--thread", f"{comm[:3]}*", path=path) == of_name
    status, _, err = run("script", path, "--thread", "nobody")
    assert status == 2 and "no event of thread nobody" in err


def test_times_as_script_prints_them(run: Run) -> None:
    """Inclusive: the last printed microsecond is meant as a whole."""
    whole = events(run)
    first, last = whole[5]["ns"], whole[9]["ns"]
    options = ("--since", f"{first // 1000 / 1e6:.6f}", "--until", f"{last // 1000 / 1e6:.6f}")
    found = events(run, *options)
    assert [event["seq"] for event in found] == [
        event["seq"] for event in whole if first // 1000 <= event["ns"] // 1000 <= last // 1000
    ]
    assert found[0]["seq"] <= whole[5]["seq"] and found[-1]["seq"] >= whole[9]["seq"]


def test_times_since_the_start(run: Run) -> None:
    started, whole = golden("debian-6.1-live")[0]["started_ns"], events(run)
    seconds = (whole[5]["ns"] - started) / 1e9
    found = events(run, "--since", f"+{seconds:.9f}")
    assert [event["seq"] for event in found] == [event["seq"] for event in whole[5:]]
    assert events(run, "--until", "+0") == []
    for text in ("x", "-1", "1e3", "+", "1:00"):
        assert run("script", LIVE, "--since", text)[0] == 2


def test_all_that_select_must(run: Run) -> None:
    found = events(run, "--device", "vda", "--driver", "virtio_blk", "--probe", "driver_probe")
    assert [event["kind"] for event in found] == ["entry", "return"]
    status, _, err = run("script", LIVE, "--device", "vda", "--driver", "virtio_net")
    assert status == 2 and "device vda has no event of driver virtio_net" in err


def test_from_a_pipe_events_come_before_its_end() -> None:
    """The header tells what vda is; nothing waits for the end of the recording."""
    command = [sys.executable, "-m", "virtio_trace", "script", "-", "--device", "vda"]
    header, *lines, _trailer = LIVE.read_bytes().splitlines(keepends=True)
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
    ) as process:
        assert process.stdin is not None and process.stdout is not None

        def feed(stream: IO[bytes]) -> None:
            with contextlib.suppress(BrokenPipeError):
                stream.write(header)
                for number in itertools.count(1):
                    event = json.loads(lines[number % len(lines)]) | {"seq": number}
                    stream.write(json.dumps(event).encode() + b"\n")

        feeder = threading.Thread(target=feed, args=(process.stdin,))
        feeder.start()
        assert b"virtio" in process.stdout.readline()
        process.kill()
        feeder.join()  # it has a broken pipe; before that, stdin must not be closed
