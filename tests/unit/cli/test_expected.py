# SPDX-License-Identifier: GPL-2.0-or-later
"""board, diff, and check with --board, --baseline and --strict, as a user runs them."""

from __future__ import annotations

import io
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit.cli.reading import Run
from tests.unit.surgery import GOLDEN, dump, golden
from virtio_trace.render import diff as render
from virtio_trace.report.diff.model import Diff, Difference, Side, Unknown

BOOT = GOLDEN / "debian-6.1.vtr"
OTHER = GOLDEN / "debian-6.12.vtr"
LOSSY = GOLDEN / "debian-6.1-lossy.vtr"
NET = "0000:00:02.0"


@pytest.fixture
def board(run: Run, tmp_path: Path) -> Path:
    file = tmp_path / "board.toml"
    status, out, err = run("board", BOOT, "-o", file)
    assert (status, out, err) == (0, "", "")
    return file


def test_a_board_is_written_and_passed(run: Run, board: Path) -> None:
    assert run("board", BOOT)[1] == board.read_text()
    status, out, _ = run("check", "--board", board, "--strict", BOOT)
    assert status == 0
    assert re.search(r"^BOARD\nsubject +device +type +transport", out, re.M)
    assert "BASELINE" not in out


def test_a_board_of_a_bad_recording_has_a_warning(run: Run) -> None:
    status, out, err = run("board", GOLDEN / "debian-6.1-failures.vtr")
    assert status == 0
    assert "the recording's verdict is DEVIATES" in err
    assert 'state = "failed"' in out


def test_board_steps_are_in_every_format(run: Run, board: Path) -> None:
    board.write_text(board.read_text().replace("queues = 3", "queues = 9"))
    status, out, _ = run("check", "--board", board, "--format", "json", BOOT)
    found = json.loads(out)
    assert (status, found["verdict"]) == (1, "DEVIATES")
    failed = [step for step in found["steps"] if step["ok"] is False]
    assert failed == [{"id": "board-queues", "subject": NET, "ok": False}]
    (finding,) = [one for one in found["findings"] if one["severity"] == "error"]
    assert finding["message"] == "3 virtqueues, not 9 or more"
    status, out, _ = run("check", "--board", board, "-v", BOOT)
    assert status == 1
    assert "board-queues: at least so many virtqueues are set up" in out


def test_a_board_with_the_specification_and_a_device(run: Run, board: Path) -> None:
    board.write_text(board.read_text().replace("queues = 3", "queues = 9"))
    assert run("check", "--board", board, "--profile", "spec", BOOT)[0] == 1
    assert run("check", "--board", board, "--device", "0000:00:03.0", BOOT)[0] == 0
    assert run("check", "--board", board, "--device", NET, BOOT)[0] == 1


def test_a_bad_board_is_bad_input_before_anything_is_read(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "board.toml"
    file.write_text('[[device]]\ntype = "net"\ndrvier = "x"\n')
    for line in (
        ("check", "--board", file, tmp_path / "missing.vtr"),
        ("boot", "--board", file, "--kernel", tmp_path / "missing", "--modules", tmp_path),
    ):
        status, out, err = run(*line)
        assert (status, out) == (5, "")
        assert f"{file}, line 3: unknown key drvier; driver?" in err
    for name in (tmp_path / "missing.toml", tmp_path):
        status, _, err = run("check", "--board", name, BOOT)
        assert status == 5
        assert str(name) in err


def test_a_recording_is_the_same_as_itself(run: Run) -> None:
    status, out, err = run("diff", BOOT, BOOT)
    assert (status, err) == (0, "")
    assert out.splitlines()[0] == "SAME: 3 devices and 3 drivers"
    found = json.loads(run("diff", BOOT, BOOT, "--format", "json")[1])
    assert (found["same"], found["differences"], found["unknown"]) == (True, [], [])


def test_another_kernel_is_different(run: Run) -> None:
    status, out, _ = run("diff", BOOT, OTHER)
    assert status == 1
    assert out.startswith("DIFFERENT: ")
    assert "in the driver's table: now VIRTIO_NET_F_" in out
    status, out, _ = run("diff", BOOT, OTHER, "--format", "markdown")
    assert status == 1
    assert re.search(r"^\| Features \| 0000:00:02\.0 \| in the driver's table: now ", out, re.M)


def test_what_was_lost_is_not_the_same(run: Run) -> None:
    status, out, _ = run("diff", LOSSY, LOSSY)
    assert status == 4
    assert out.startswith("UNKNOWN: ")
    assert json.loads(run("diff", LOSSY, LOSSY, "--format", "json")[1])["same"] is None


def test_the_baseline_is_the_same_as_the_diff(run: Run) -> None:
    assert run("check", "--baseline", BOOT, BOOT)[0] == 0
    found = json.loads(run("diff", BOOT, OTHER, "--format", "json")[1])
    status, out, _ = run("check", "--baseline", BOOT, OTHER, "--format", "json")
    steps = json.loads(out)["steps"]
    failed = {(s["id"], s["subject"]) for s in steps if s["ok"] is False}
    assert status == 1
    assert failed == {(f"baseline-{d['kind']}", d["subject"]) for d in found["differences"]}
    status, out, _ = run("check", "--baseline", BOOT, OTHER)
    assert re.search(r"^BASELINE\nsubject +device", out, re.M)


def test_the_baseline_is_cut_as_the_recording_is(run: Run) -> None:
    """Without the boot's events in one of them, every device would differ."""
    file = OTHER
    found = json.loads(
        run("check", "--no-boot-events", "--baseline", file, file, "--format", "json")[1]
    )
    own = [step for step in found["steps"] if step["id"].startswith("baseline-")]
    assert own
    assert [step for step in own if step["ok"] is not True] == []


def test_usage(run: Run) -> None:
    assert run("diff", "-", "-")[0] == 2
    assert run("check", "--baseline", "-", "-")[0] == 2
    assert run("check", "--time-ratio", "2", BOOT)[0] == 2
    assert run("diff", BOOT)[0] == 2
    assert run("diff", "--time-ratio", "0.5", BOOT, BOOT)[0] == 2


def test_damaged_input_is_bad_input(run: Run, tmp_path: Path) -> None:
    bad = tmp_path / "bad.vtr"
    bad.write_text("no recording\n")
    for line in (
        ("diff", bad, BOOT),
        ("diff", BOOT, bad),
        ("board", bad),
        ("check", "--baseline", bad, BOOT),
    ):
        status, out, err = run(*line)
        assert (status, out) == (5, "")
        assert str(bad) in err


def test_a_cut_recording_is_compared_as_far_as_it_goes(run: Run, tmp_path: Path) -> None:
    cut = tmp_path / "cut.vtr"
    lines = dump(golden("debian-6.1"))
    cut.write_bytes(b"".join(lines[: len(lines) // 2]))
    status, out, _ = run("diff", BOOT, cut)
    assert status in (1, 4)
    assert "NEW: the recording was cut short" in out
    assert run("board", cut)[0] == 0


def test_one_can_be_standard_input() -> None:
    command = [sys.executable, "-m", "virtio_trace", "diff", str(BOOT), "-"]
    with BOOT.open("rb") as stdin:
        done = subprocess.run(command, check=False, stdin=stdin, capture_output=True, text=True)
    assert done.returncode == 0
    assert "NEW  -: Linux" in done.stdout


def test_hostile_names_stay_in_their_place() -> None:
    evil = "a|b<img>`x`\x1b[31m\n\u202e"
    side = Side("NEW", evil, evil, None, 1, 1)
    found = Diff(side, side)
    found.differences.append(Difference("state", evil, "state", "x", "y", f"{evil} was x"))
    found.unknown.append(Unknown("", "", evil))
    for renderer in (render.text, render.markdown):
        out = io.StringIO()
        renderer(found, out)
        assert "\x1b" not in out.getvalue()
        assert "\u202e" not in out.getvalue()
    rows = [line for line in out.getvalue().splitlines() if line.startswith("|")]
    assert {row.count("|") for row in rows} == {4}
    assert "<img>" not in out.getvalue()
