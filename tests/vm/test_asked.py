# SPDX-License-Identifier: GPL-2.0-or-later
"""A live recorder's verdict about what was asked for. All devices of the guests were bound before.

In one of them the kernel recorded its own boot: its events are in the recordings too.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.vm.guest import Boot, Guest, run, run_json
from tests.vm.test_rebind import _disk

_HOUR_S = 3600

NET, DISK, RNG, OTHER_NET, SCSI = (f"0000:00:{slot:02x}.0" for slot in range(2, 7))

OPTIONS = (
    *("-netdev", "user,id=n2", "-device", "virtio-net-pci,romfile=,netdev=n2,addr=02.0"),
    *_disk("d3", "virtio-blk-pci,addr=03.0"),
    *("-device", "virtio-rng-pci,addr=04.0"),
    *("-netdev", "user,id=n5", "-device", "virtio-net-pci,romfile=,netdev=n5,addr=05.0"),
    *("-device", "virtio-scsi-pci,id=s6,addr=06.0", *_disk("d6", "scsi-hd,bus=s6.0")),
)

_SCRIPT = f"""
asked() {{
    at "$1"
    name=$1
    shift
    python3 -m virtio_trace record -o /run/$name.vtr "$@"
    echo "status $?"
}}
asked disk -q --rebind vda
asked scsi -q --rebind sda
asked pair -q --rebind {RNG} --rebind eth1
asked limited --device eth1 -- sh -c '
    cd /sys/bus/virtio/drivers
    n=$(basename /sys/bus/pci/devices/{RNG}/virtio*)
    echo $n >virtio_rng/unbind; echo $n >virtio_rng/bind
    n=$(basename /sys/bus/pci/devices/{OTHER_NET}/virtio*)
    echo $n >virtio_net/unbind; echo $n >virtio_net/bind'
asked driver -q --driver virtio_net -- rmmod virtio_net
asked idle -q --device {RNG} -- true
asked unknown --device nowhere -- true
asked stranger --driver virtio_nothing -- true
at piped
python3 -m virtio_trace record -q -o - --rebind vda >/run/piped.vtr
echo "status $?"
ls /run/*.vtr
for name in disk scsi pair limited piped; do at "recording $name"; cat /run/$name.vtr; done
"""

GUESTS = {
    "6.1": Guest("6.1", _SCRIPT, OPTIONS, seconds=70, python=True),
    "6.12": Guest("6.12", _SCRIPT, OPTIONS, seconds=90, python=True),
}


def _made(booted: Boot, name: str) -> Path:
    """A recording made in the guest."""
    path = booted.recording.with_name(f"{name}.vtr")
    path.write_text("".join(f"{line}\n" for line in booted.sections[f"recording {name}"]), "ascii")
    return path


def _status(booted: Boot, name: str) -> str:
    return booted.sections[name][-1]


def _check(path: Path, *options: str) -> tuple[int, dict[str, Any]]:
    return run_json("check", path, *options, "--no-boot-events")


@pytest.mark.parametrize(
    ("name", "addresses"), [("disk", [DISK]), ("scsi", [SCSI]), ("pair", [RNG, OTHER_NET])]
)
def test_a_perfect_rebind_conforms(name: str, addresses: list[str], booted: Boot) -> None:
    """All other devices, and the bus, were there before."""
    assert _status(booted, name) == "status 0"
    verdict = f"virtio-trace: CONFORMS: {', '.join(addresses)}: "
    assert any(line.startswith(verdict) for line in booted.sections[name])
    devices = [word for address in addresses for word in ("--device", address)]
    status, found = _check(_made(booted, name), *devices)
    assert (status, found["verdict"]) == (0, "CONFORMS")
    assert found["scope"]["devices"] == addresses
    for address in addresses:
        steps = [s["id"] for s in found["steps"] if s["subject"] == address and s["ok"]]
        assert steps == ["pair-matched", "bus-probed", "driver-probed"]


def test_a_live_recording_has_the_time_of_day(booted: Boot) -> None:
    """A guest's clock begins with the host's."""
    header = json.loads(booted.sections["recording disk"][0])
    apart = header["started_unix_ns"] / 1e9 - booted.recording.stat().st_mtime
    assert abs(apart) < _HOUR_S


def test_all_of_it_is_incomplete(booted: Boot) -> None:
    """What was there before is one line of the text."""
    path = _made(booted, "disk")
    status, found = _check(path)
    assert (status, found["verdict"]) == (4, "INCOMPLETE")
    before = [finding for finding in found["findings"] if finding.get("before")]
    assert len(before) > 10
    text = run("check", "--no-boot-events", str(path)).stdout
    (line,) = [line for line in text.splitlines() if "before the recording: " in line]
    assert "5 devices" in line
    assert "WARNINGS" not in text


def test_the_spec_too(booted: Boot) -> None:
    status, found = _check(_made(booted, "disk"), "--device", "vda", "--profile", "spec")
    assert (status, found["verdict"]) == (0, "CONFORMS")


def test_another_device_of_the_recording(booted: Boot) -> None:
    """Nothing of it was recorded, so nothing is proven."""
    status, found = _check(_made(booted, "disk"), "--device", "eth0")
    assert (status, found["verdict"]) == (4, "INCOMPLETE")
    (finding,) = [f for f in found["findings"] if not f.get("before") and f["severity"] != "note"]
    assert (finding["step"], finding["subject"]) == ("recording", NET)


def test_what_is_shown_is_limited_and_what_is_recorded_is_not(booted: Boot) -> None:
    said = booted.sections["limited"]
    assert _status(booted, "limited") == "status 0"
    assert any("virtnet_probe" in line for line in said)
    assert not any("virtrng_probe" in line for line in said)
    text = run("script", str(_made(booted, "limited"))).stdout
    assert "virtrng_probe" in text and "virtnet_probe" in text


def test_a_driver_that_left_its_devices(booted: Boot) -> None:
    """rmmod unbinds both interfaces, which is an error of each: a driver matches them."""
    assert _status(booted, "driver") == "status 1"
    said = "\n".join(booted.sections["driver"])
    assert f"DEVIATES: {NET}, {OTHER_NET}: " in said


def test_nothing_happened(booted: Boot) -> None:
    assert _status(booted, "idle") == "status 4"
    assert any(f"no step of the procedure of {RNG}" in line for line in booted.sections["idle"])


@pytest.mark.parametrize(("name", "there"), [("unknown", "virtio3"), ("stranger", "virtio_net")])
def test_an_unknown_name(name: str, there: str, booted: Boot) -> None:
    """Nothing is recorded then."""
    assert _status(booted, name) == "status 2"
    assert there in "".join(booted.sections[name])
    assert f"/run/{name}.vtr" not in "".join(booted.sections["piped"])


def test_a_recording_on_standard_output_is_judged_too(booted: Boot) -> None:
    assert "status 0" in booted.sections["piped"]
    assert any("CONFORMS" in line for line in booted.sections["piped"])
    status, found = _check(_made(booted, "piped"), "--device", "vda")
    assert (status, found["verdict"]) == (0, "CONFORMS")
