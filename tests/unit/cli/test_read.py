# SPDX-License-Identifier: GPL-2.0-or-later
"""report, check, graph and script as a user runs them: results, statuses, damaged files."""

from __future__ import annotations

import contextlib
import fcntl
import gc
import json
import os
import pty
import random
import signal
import struct
import subprocess
import sys
import termios
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.unit.surgery import GOLDEN, at, change, dump, entry_lost, golden
from virtio_trace.cli import main

RECORDINGS = sorted(GOLDEN.glob("*.vtr"))
COMMANDS = (
    ("report",),
    ("report", "--format", "json"),
    ("report", "--format", "perfetto"),
    ("check",),
    ("check", "--format", "json"),
    ("check", "--profile", "spec"),
    ("graph",),
    ("script",),
    ("script", "--format", "json"),
)
OF_A_VERDICT = {0, 1, 4}
BAD_INPUT = 5

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Iterator[Run]:
    """Runs a command in this process: its status, standard output and standard error."""

    def run(*arguments: object) -> tuple[int, str, str]:
        status = main.run([str(argument) for argument in arguments])
        said = capsys.readouterr()
        said.out.encode()  # there is no lone surrogate in any output
        return status, said.out, said.err

    yield run
    gc.enable()  # commands that read disable it


@pytest.fixture
def failing(tmp_path: Path) -> Path:
    """A real recording in which virtblk_probe returned -ENOMEM."""
    lines = golden("debian-6.1")
    blk = next(e["device"]["address"] for e in lines if e.get("function") == "virtblk_probe")
    for probe in ("driver_probe", "virtio_dev_probe"):
        lines = change(lines, at(probe, blk, kind="return"), result=-12)
    path = tmp_path / "failing.vtr"
    path.write_bytes(b"".join(dump(lines)))
    return path


def process(*arguments: object, **keywords: Any) -> subprocess.CompletedProcess[str]:
    """Runs a command in its own process, without a terminal, as a shell does: without COLUMNS,
    which readline, imported by pytest, puts into the environment."""
    command = ["env", "-u", "COLUMNS", sys.executable, "-m", "virtio_trace", *map(str, arguments)]
    return subprocess.run(command, text=True, timeout=60, check=False, **keywords)


def assert_ended_well(status: int, err: str, allowed: set[int]) -> None:
    assert status in allowed
    assert "Traceback" not in err
    if status == BAD_INPUT:
        message, *hint = err.splitlines()
        assert message.startswith("virtio-trace: ")
        assert len(hint) == 1
        assert hint[0].startswith("  ")


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


# -- files that are no recordings, or damaged


def test_every_length_of_a_recording_is_read_or_refused(run: Run, tmp_path: Path) -> None:
    short = golden("debian-6.1")
    header = {
        **short[0],
        "probes": short[0]["probes"][:1],
        "evidence": {**short[0]["evidence"], "drivers": [], "transports": []},
    }
    data = b"".join(dump([header, *short[10:16]]))
    whole = len(dump([header])[0])
    path = tmp_path / "cut.vtr"
    for length in range(len(data)):
        path.write_bytes(data[:length])
        status, _, err = run("check", path)
        assert_ended_well(status, err, {BAD_INPUT} if length < whole else {1, 4})


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "empty"),
        (b"\x1f\x8b\x08\x00 gzip", "not a virtio-trace recording"),
        (b"\x7fELF" + bytes(range(256)) * 9, "not a virtio-trace recording"),
        (b"hello\n", "not a virtio-trace recording"),
        (b"[]\n", "not a virtio-trace recording"),
        (b'{"a": 1}\n', "not a virtio-trace recording"),
        (b'{"schema":"virtio-trace/recording/9"}\n', "unknown schema"),
        (b'{"schema":"virtio-trace/recording/1"}\n', "damaged header"),
        (b"[" * 100_000 + b"\n", "not a virtio-trace recording"),
        (b'{"schema":' + b"9" * 5000 + b"}\n", "not a virtio-trace recording"),
        (b'{"schema":"\xff"}\n', "not a virtio-trace recording"),
    ],
)
def test_no_recording(run: Run, tmp_path: Path, content: bytes, says: str) -> None:
    path = tmp_path / "no.vtr"
    path.write_bytes(content)
    for command in COMMANDS:
        status, out, err = run(*command, path)
        assert out == ""
        assert_ended_well(status, err, {BAD_INPUT})
        assert says in err


def test_a_file_that_cannot_be_opened(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for arguments in (
        ("report",),
        ("check", "missing.vtr"),
        ("graph", tmp_path),
        ("script", "/proc/self/mem"),
    ):
        status, out, err = run(*arguments)
        assert out == ""
        assert_ended_well(status, err, {BAD_INPUT})


VALUES: list[Any] = [
    None, True, -1, 0, 2**31, 2**64, 10**4000, 1.5, float("nan"), float("inf"), "", "x", "\ud800",
    "\x1b[31m\n\u202e", [], [1], {}, {"a": 1}, [[1, 2]], "entry", "return", "module", "trailer",
]  # fmt: skip


def _change_a_value(chance: random.Random, thing: Any) -> Any:
    """THING with one value, at any depth, replaced or removed."""
    if not isinstance(thing, (dict, list)) or not thing or chance.random() < 0.15:
        return chance.choice(VALUES)
    keys: list[Any] = list(thing) if isinstance(thing, dict) else list(range(len(thing)))
    key = chance.choice(keys)
    copy: Any = dict(thing) if isinstance(thing, dict) else list(thing)
    if chance.random() < 0.1:
        del copy[key]
    else:
        copy[key] = _change_a_value(chance, thing[key])
    return copy


def _damage(chance: random.Random, data: bytes) -> bytes:
    kind = chance.choice(
        ("flip", "drop", "swap", "double", "value", "value", "value", "value", "cut")
    )
    if kind == "flip":
        i = chance.randrange(len(data))
        return data[:i] + bytes([data[i] ^ (1 << chance.randrange(8))]) + data[i + 1 :]
    if kind == "cut":
        return data[: chance.randrange(len(data))]
    lines = data.splitlines(keepends=True)
    i, j = chance.randrange(len(lines)), chance.randrange(len(lines))
    if kind == "drop":
        del lines[i]
    elif kind == "swap":
        lines[i], lines[j] = lines[j], lines[i]
    elif kind == "double":
        lines.insert(i, lines[j])
    else:
        i = chance.choice((0, len(lines) - 1, i, i))
        try:
            changed = _change_a_value(chance, json.loads(lines[i]))
        except ValueError:
            return data
        lines[i] = json.dumps(changed).encode() + b"\n"
    return b"".join(lines)


@pytest.mark.parametrize("path", RECORDINGS, ids=lambda path: path.stem)
def test_damage_never_ends_in_a_traceback(run: Run, tmp_path: Path, path: Path) -> None:
    rounds = int(os.environ.get("VIRTIO_TRACE_FUZZ", "300"))
    whole = path.read_bytes()
    damaged = tmp_path / "damaged.vtr"
    for seed in range(rounds):
        chance = random.Random(seed)
        data = whole
        for _ in range(chance.choice((1, 1, 2, 4))):
            data = _damage(chance, data) or b"\n"
        damaged.write_bytes(data)
        command = COMMANDS[seed % len(COMMANDS)]
        status, out, err = run(*command, damaged)
        allowed = OF_A_VERDICT if command[0] == "check" else {0}
        assert_ended_well(status, err, allowed | {BAD_INPUT})
        assert "\x1b" not in out + err
        if status != BAD_INPUT and command[-1] == "json" and command[0] != "script":
            json.loads(out)


# -- where the output goes


def test_standard_input(run: Run) -> None:
    done = process(
        "report", "-", input=(GOLDEN / "debian-6.1.vtr").read_text(), capture_output=True
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == run("report", GOLDEN / "debian-6.1.vtr")[1]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_a_full_or_closed_output_is_one_line_and_status_3(command: tuple[str, ...]) -> None:
    path = GOLDEN / "debian-6.1.vtr"
    with Path("/dev/full").open("w") as full:
        done = process(*command, path, stdout=full, stderr=subprocess.PIPE)
    assert done.returncode == 3
    assert len(done.stderr.splitlines()) == 2
    shell = f'"$0" -m virtio_trace {" ".join(command)} {path} >&-'
    closed = subprocess.run(
        ["sh", "-c", shell, sys.executable], capture_output=True, text=True, check=False
    )
    assert closed.returncode == 3
    assert len(closed.stderr.splitlines()) == 2


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_a_closed_pipe_ends_a_command_silently(command: tuple[str, ...]) -> None:
    assert without_reader(*command, GOLDEN / "debian-6.1.vtr") == (-signal.SIGPIPE, "")


@pytest.mark.parametrize("option", ["--help", "--version"])
def test_a_closed_pipe_ends_help_silently(option: str) -> None:
    assert without_reader(option) == (-signal.SIGPIPE, "")


def without_reader(*arguments: object) -> tuple[int, str]:
    """The exit status and standard error of a command if nobody reads its standard output."""
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = process(*arguments, stdout=writing, stderr=subprocess.PIPE)
    finally:
        os.close(writing)
    return done.returncode, done.stderr


@pytest.mark.parametrize("command", [c for c in COMMANDS if c[0] in ("graph", "report")])
def test_into_a_file(run: Run, tmp_path: Path, command: tuple[str, ...]) -> None:
    status, out, _ = run(*command, GOLDEN / "debian-6.1.vtr", "-o", tmp_path / "made")
    assert (status, out) == (0, "")
    assert (tmp_path / "made").read_text() == run(*command, GOLDEN / "debian-6.1.vtr")[1] != ""
    assert run(*command, GOLDEN / "debian-6.1.vtr", "-o", tmp_path / "no" / "made")[0] == 3


@pytest.mark.parametrize("command", ["graph", "report"])
def test_the_recording_is_not_overwritten(run: Run, failing: Path, command: str) -> None:
    before = failing.read_bytes()
    assert run(command, failing, "-o", failing)[0] == 2
    assert failing.read_bytes() == before


def test_a_pipe_gets_whole_lines(run: Run) -> None:
    """Like git and perf; COLUMNS is a wish."""
    path = GOLDEN / "debian-6.1-reasons.vtr"
    for command in ("report", "check", "script"):
        whole = process(command, path, capture_output=True).stdout
        assert max(map(len, whole.splitlines())) > 100
        assert whole == run(command, path)[1]
    narrow = subprocess.run(
        [sys.executable, "-m", "virtio_trace", "check", str(path)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "COLUMNS": "80"},
    ).stdout
    assert 60 < max(map(len, narrow.splitlines())) <= 80


@pytest.mark.parametrize("columns", [80, 100])
@pytest.mark.parametrize("command", ["report", "check", "script"])
def test_a_terminal_of_a_width(command: str, columns: int) -> None:
    """On a real terminal, no line is broken by it, and each word is whole."""
    path = GOLDEN / "debian-6.1-failures.vtr"
    whole = {*process(command, path, capture_output=True).stdout.replace("|", "| ").split()}
    shown = _on_a_terminal([command, str(path)], columns)
    lines = [line for line in shown.splitlines() if "left out for want of room" not in line]
    assert max(map(len, lines)) <= columns
    words = {word for line in lines for word in line.replace("|", "| ").split()}
    headings = {word for word in words if word.endswith("-") or f"-{word}" in " ".join(whole)}
    strange = {word for word in words - whole - headings if not word.isdigit()}
    assert not strange


def _on_a_terminal(arguments: list[str], columns: int) -> str:
    """What a command writes to a terminal of COLUMNS."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    command = ["env", "-u", "COLUMNS", "NO_COLOR=1", sys.executable, "-m", "virtio_trace"]
    with subprocess.Popen([*command, *arguments], stdout=theirs) as running:
        os.close(theirs)
        said = b""
        with contextlib.suppress(OSError):  # EIO: the other end is closed
            while more := os.read(ours, 4096):
                said += more
        os.close(ours)
        running.wait(60)
    return said.decode().replace("\r\n", "\n")


def test_script_names_bits_and_verbose_has_them_in_hexadecimal(run: Run) -> None:
    path = GOLDEN / "debian-6.1-failures.vtr"
    _, out, _ = run("script", path)
    assert "status=ACKNOWLEDGE|DRIVER|FEATURES_OK" in out
    assert " offers=CTRL_GUEST_OFFLOADS|MAC|MRG_RXBUF|STATUS|" in out
    assert "=0x" not in out
    _, out, _ = run("script", "-v", path)
    assert "status=0xb (ACKNOWLEDGE DRIVER FEATURES_OK)" in out
    assert " offers=0x" in out


def test_no_colour_without_a_terminal(run: Run, failing: Path) -> None:
    for command in COMMANDS:
        assert "\x1b" not in run(*command, failing)[1]


def test_any_locale(failing: Path) -> None:
    """A comm that the locale cannot write is escaped."""
    text = failing.read_text().replace('"modprobe"', '"\\u6a21\\u5757"')
    environment = {**os.environ, "LC_ALL": "C", "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    done = process("script", "-", input=text, capture_output=True, env=environment)
    assert done.returncode == 0
    assert "\\u6a21\\u5757" in done.stdout
