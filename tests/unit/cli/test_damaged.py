# SPDX-License-Identifier: GPL-2.0-or-later
"""Files that are no recordings, or damaged: a message, a hint and a status, never a traceback."""

from __future__ import annotations

import json
import os
import random
from pathlib import Path
from typing import Any

import pytest

from tests.unit.cli.reading import (
    BAD_INPUT,
    COMMANDS,
    OF_A_VERDICT,
    RECORDINGS,
    Run,
    assert_ended_well,
)
from tests.unit.surgery import dump, golden


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
