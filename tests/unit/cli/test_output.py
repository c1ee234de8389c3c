# SPDX-License-Identifier: GPL-2.0-or-later
"""Where recordings and results go: nothing is destroyed, a full disk is reported as one."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from tests.unit.surgery import GOLDEN, golden
from virtio_trace.cli import main
from virtio_trace.cli.support.output import DEFAULT, RecordingOutput
from virtio_trace.errors import IncompleteError, UsageError
from virtio_trace.recording import reader
from virtio_trace.recording.writer import Writer

RECORDING = GOLDEN / "debian-6.1.vtr"


def record(path: Path | str | None, text: bytes) -> None:
    """What record does with its FILE."""
    output = RecordingOutput(None if path is None else str(path))
    output.open().write(text)
    output.close()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system with room for 64 KiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)]
    done = subprocess.run(mount, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"cannot mount a tmpfs here: {done.stderr.strip()}")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.parametrize("name", [None, "mine.vtr"])
def test_an_existing_file_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str | None
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / (name or DEFAULT)
    for text in (b"first", b"second", b"third"):
        record(name, text)
    assert path.read_bytes() == b"third"
    assert path.with_name(path.name + ".old").read_bytes() == b"second"


def test_an_attempt_that_never_opens_it_leaves_it_alone(tmp_path: Path) -> None:
    path = tmp_path / "x.vtr"
    path.write_bytes(b"mine")
    RecordingOutput(str(path)).close()
    assert [file.name for file in tmp_path.iterdir()] == ["x.vtr"]
    assert path.read_bytes() == b"mine"


def test_an_empty_file_is_filled_in_place(tmp_path: Path) -> None:
    """As mktemp makes one."""
    path = tmp_path / "x.vtr"
    path.touch(0o600)
    record(path, b"first")
    assert path.read_bytes() == b"first"
    assert path.stat().st_mode & 0o777 == 0o600
    assert [file.name for file in tmp_path.iterdir()] == ["x.vtr"]


def test_what_a_link_leads_to_is_kept_and_so_is_the_link(tmp_path: Path) -> None:
    real, link = tmp_path / "real.vtr", tmp_path / "link.vtr"
    real.write_bytes(b"old")
    link.symlink_to("real.vtr")
    record(link, b"new")
    assert link.is_symlink()
    assert real.read_bytes() == b"new"
    assert (tmp_path / "real.vtr.old").read_bytes() == b"old"


def test_a_device_is_not_renamed() -> None:
    record("/dev/null", b"any")
    assert Path("/dev/null").is_char_device()
    assert not Path("/dev/null.old").exists()


def test_a_file_that_cannot_be_kept_is_not_destroyed(tmp_path: Path) -> None:
    path = tmp_path / "x.vtr"
    path.write_bytes(b"mine")
    (tmp_path / "x.vtr.old").mkdir()
    with pytest.raises(UsageError) as caught:
        record(path, b"new")
    assert "x.vtr: " in str(caught.value) and "-o FILE" in caught.value.hint
    assert path.read_bytes() == b"mine"


def test_a_second_recorder_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.vtr"
    early = RecordingOutput(str(path))  # checked before the first one opened it
    first = RecordingOutput(str(path))
    stream = first.open()
    for second in (early.open, lambda: RecordingOutput(str(path))):
        with pytest.raises(UsageError, match="another virtio-trace is recording") as caught:
            second()
        assert "wait until it has ended" in caught.value.hint
    stream.write(b"whole")
    first.close()
    assert path.read_bytes() == b"whole"
    record(path, b"next")
    assert path.with_name("x.vtr.old").read_bytes() == b"whole"


def test_of_many_recorders_at_once_each_has_the_file_alone(tmp_path: Path) -> None:
    """Processes that race for one name: the winner of each round is never overwritten."""
    path = tmp_path / "x.vtr"
    code = (
        "import os, sys, time; from virtio_trace.cli.support.output import RecordingOutput\n"
        "from virtio_trace.errors import UsageError\n"
        "me = str(os.getpid()).encode()\n"
        "for n in range(200):\n"
        "    try:\n"
        "        output = RecordingOutput(sys.argv[1]); stream = output.open()\n"
        "    except UsageError as error:\n"
        "        assert 'another virtio-trace' in str(error), error\n"
        "        continue\n"
        "    stream.write(me); time.sleep(0.0001); stream.write(me)\n"
        "    assert open(sys.argv[1], 'rb').read() == me + me\n"
        "    output.close()\n"
    )
    command = [sys.executable, "-c", code, str(path)]
    racers = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(3)]
    for racer in racers:
        _, err = racer.communicate(timeout=60)
        assert (racer.returncode, err) == (0, "")


def test_a_recording_on_a_full_disk_is_cut_after_a_whole_line(small_disk: Path) -> None:
    path = small_disk / "x.vtr"
    lines = golden("debian-6.1")
    read = reader.read([json.dumps(line).encode() + b"\n" for line in lines], "x")
    output = RecordingOutput(str(path))
    writer = Writer(output.open())
    writer.header(read.header)
    with pytest.raises(IncompleteError) as caught:
        for seq, event in enumerate(read.events * 3, 1):
            event.seq = seq
            writer.write([event])
    assert "x.vtr: cannot write: No space left on device" in str(caught.value)
    assert "the recording is cut here" in str(caught.value)
    assert "make room" in caught.value.hint
    output.close()  # there is nothing left to write, and nothing more to say
    with path.open("rb") as stream:
        cut = reader.read(stream, "x")
    assert cut.trailer is None
    assert 0 < len(cut.events) < 3 * len(read.events)


def test_a_full_device_is_status_4() -> None:
    output = RecordingOutput("/dev/full")
    with pytest.raises(IncompleteError, match="/dev/full: cannot write: No space left") as caught:
        output.open().write(b"x")
    assert caught.value.status == 4
    output.close()


@pytest.mark.parametrize("command", ["report", "graph"])
def test_a_result_on_a_full_disk_is_status_3(
    small_disk: Path, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    (small_disk / "rest").write_bytes(bytes(64 * 1024))
    path = small_disk / "made"
    assert main.run([command, str(RECORDING), "-o", str(path)]) == 3
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == [
        f"virtio-trace: {path}: cannot write: No space left on device",
        "  name another file with -o",
    ]


@pytest.mark.parametrize("option", ["--help", "--version"])
def test_help_on_a_full_device_is_status_3(option: str) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "virtio_trace", option],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 3
    first, hint = done.stderr.splitlines()
    assert first == "virtio-trace: standard output: cannot write: No space left on device"
    assert hint.startswith("  ")


def test_an_error_that_is_not_of_the_output_says_its_own_words(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    @click.command()
    def fails() -> None:
        Path("/nowhere").stat()

    monkeypatch.setattr(main._Commands, "get_command", lambda *_: fails)
    assert main.run(["report"]) == 3
    assert capsys.readouterr().err == "virtio-trace: /nowhere: No such file or directory\n"
