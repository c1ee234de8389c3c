# SPDX-License-Identifier: GPL-2.0-or-later
"""The Debian package on live Debian 12 and 13 systems, used over a login. See installed.py."""

from __future__ import annotations

import os
import re
import subprocess
from concurrent.futures import Future
from functools import partial

import pytest

from tests.vm import installed, live_images
from tests.vm.guest import ARMED, COMMAND, run_json
from tests.vm.installed import WIDTHS, Outcome

BOOTS = {suite: partial(installed.use, suite) for suite in live_images.SUITES}
SECONDS = 300
HOT, DISK = "0000:00:09.0", "0000:00:04.0"


@pytest.fixture(scope="module", params=live_images.SUITES)
def outcome(
    request: pytest.FixtureRequest, boots: dict[tuple[str, str], Future[Outcome]]
) -> Outcome:
    """One system for all tests."""
    return boots[__name__, request.param].result()


def _here(columns: int, *arguments: str) -> list[str]:
    """What our own command prints on this machine, COLUMNS wide, without a terminal."""
    done = subprocess.run(
        [*COMMAND, *arguments], capture_output=True, text=True, check=False,
        env={**os.environ, "COLUMNS": str(columns)},
    )  # fmt: skip
    return [line.rstrip() for line in done.stdout.rstrip("\n").splitlines()]


def test_it_is_a_real_login(outcome: Outcome) -> None:
    said = outcome.done["environment"].text
    for line in (f"USER={live_images.USER}", "SHELL=/bin/bash", "TERM=vt220"):
        assert line in said.splitlines()
    assert "XDG_SESSION_ID=" in said  # pam_systemd has opened a session


def test_dpkg_installs_it(outcome: Outcome) -> None:
    done = outcome.done["dpkg"]
    assert done.status == 0, done
    assert not re.search(r"warning|error", done.text)
    assert "VIRTIO-TRACE-RECORD(1)" in outcome.done["man"].text


def test_doctor(outcome: Outcome) -> None:
    """Root can trace, with the package's own programs; the user is told that root is missing."""
    done = outcome.done["doctor"]
    assert done.status == 0, done
    assert not re.search(r"^  (NO|part|\?) ", done.text, re.MULTILINE), done.text
    assert "  yes  compiled programs, or BCC to compile them\n" in done.text
    other = outcome.done["user's doctor"]
    assert other.status == 3
    assert "  NO   root" in other.text
    assert outcome.done["user's record"].status == 3
    assert "sudo" in outcome.done["user's record"].text


@pytest.mark.parametrize("columns", WIDTHS)
def test_nothing_is_wider_than_the_terminal(outcome: Outcome, columns: int) -> None:
    """tmux joins the lines that it had to wrap."""
    shown = [one for (_, width), one in outcome.shown.items() if width == columns]
    assert len(shown) == 6
    wide = [line for one in shown for line in one.lines if len(line) > columns]
    assert not wide


@pytest.mark.parametrize("columns", WIDTHS)
def test_a_device_comes_and_goes(outcome: Outcome, columns: int) -> None:
    shown = outcome.shown["hotplug", columns]
    assert shown.status == 0
    lines = [line for line in shown.lines if line != "virtio-trace: stopping…"]
    assert ARMED.fullmatch(lines[0]), lines
    assert re.fullmatch(r"virtio-trace: \d+ events in hot.vtr, 0 lost", lines[-1])
    order = [" register_virtio_device", "virtnet_probe", "unregister_virtio", "virtio_dev_remove"]
    firsts = [next(n for n, line in enumerate(lines) if name in line) for name in order]
    assert firsts == sorted(firsts)
    assert outcome.pressed[columns] < 60  # under emulation; a kernel's wait for each probe point
    status, found = run_json("report", outcome.recordings[f"hot {columns}"])
    (binding,) = (b for b in found["bindings"] if b["device"] == HOT)
    assert (status, binding["driver"], binding["result"]) == (0, "virtio_net", 0)
    (device,) = (d for d in found["devices"] if d["address"] == HOT)
    assert device["state"] == "removed"


@pytest.mark.parametrize("columns", WIDTHS)
def test_it_conforms(outcome: Outcome, columns: int) -> None:
    """The device that came is judged from its first step on; the disk from its match on."""
    for name in ("check", "rebind"):
        shown = outcome.shown[name, columns]
        assert shown.status == 0, shown
        assert any(line.startswith("CONFORMS") or "CONFORMS: " in line for line in shown.lines)
    for name, address in (("hot", HOT), ("disk", DISK)):
        recording = outcome.recordings[f"{name} {columns}"]
        status, found = run_json("check", recording, "--device", address, "--no-boot-events")
        assert (status, found["verdict"]) == (0, "CONFORMS")


@pytest.mark.parametrize("columns", WIDTHS)
def test_the_terminal_shows_what_is_printed_here(outcome: Outcome, columns: int) -> None:
    """The same width, another machine, no terminal."""
    hot, disk = (str(outcome.recordings[f"{name} {columns}"]) for name in ("hot", "disk"))
    for name, arguments in (
        ("check", ("check", "--device", HOT, hot)),
        ("report", ("report", hot)),
        ("script", ("script", "--device", HOT, hot)),
        ("rebind report", ("report", "--device", "vdb", disk)),
    ):
        assert outcome.shown[name, columns].lines == _here(columns, *arguments), name


def test_systemd_runs_it(outcome: Outcome) -> None:
    """Type=notify: started means armed."""
    done = outcome.done
    assert done["service: start"].status == 0, done["service: start"]
    said = done["service: status"].text
    assert "ActiveState=active" in said and "StatusText=armed: " in said
    assert done["service: stop"].status == 0
    status, found = run_json("report", outcome.recordings["unit"])
    assert (status, found["recording"]["ended"], found["recording"]["lost"]) == (0, "interrupt", 0)
    assert [d["name"] for d in found["drivers"] if d["name"] == "virtio_rng"]


def test_nothing_is_left(outcome: Outcome) -> None:
    done = outcome.done
    assert done["settled"].text.strip() == "running"
    for name in ("probes", "failed", "log"):
        assert done[name].text == "", done[name]
    assert done["purge"].status == 0
    assert not re.search(r"warning|not empty", done["purge"].text)
    left = [path for path in done["left"].text.splitlines() if "/.cache/" not in path]
    assert left == []
