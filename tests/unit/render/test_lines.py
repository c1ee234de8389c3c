# SPDX-License-Identifier: GPL-2.0-or-later
"""Lines as events happen: nesting, threads, calls that are awaited, what a width leaves out."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.surgery import GOLDEN
from virtio_trace.recording import reader
from virtio_trace.recording.events import ENTRY, MODULE, RETURN, DeviceRef, Event
from virtio_trace.render.lines import Lines

NET = DeviceRef("0000:00:02.0", "pci", 0, 1, 0x1AF4)


class Script:
    """Makes events one microsecond apart, and returns the lines for them."""

    def __init__(self, **keywords: Any) -> None:
        self.lines = Lines(**keywords)
        self.seq = 0

    def __call__(self, kind: str, function: str, tid: int = 7, **members: Any) -> list[str]:
        self.seq += 1
        event = Event(self.seq, self.seq * 1000, 0, tid, members.pop("comm", "udev"), kind)
        if kind == MODULE:
            event.module = function
        else:
            event.probe = event.function = function
        for name, value in members.items():
            setattr(event, name, value)
        return [line[11:] for line in self.lines.add(event)]


def test_a_leaf_call_is_one_line() -> None:
    script = Script()
    assert (
        script(ENTRY, "virtnet_probe", device=NET, module="virtio_net", driver="virtio_net") == []
    )
    assert script(RETURN, "virtnet_probe", result=0, duration_ns=512_000) == [
        "udev/7          virtnet_probe [virtio_net] 0000:00:02.0 virtio0 net virtio_net"
        " = 0 <0.512 ms>"
    ]


def test_inner_calls_are_indented_and_braced() -> None:
    script = Script()
    assert script(ENTRY, "a") == []
    assert script(ENTRY, "b") == ["udev/7          a {"]
    assert script(RETURN, "b", result=-22, duration_ns=1) == [
        "udev/7            b = -22 EINVAL <0.000 ms>"
    ]
    assert script(RETURN, "a", result=0, duration_ns=2_000_000) == [
        "udev/7          } = 0 <2.000 ms>"
    ]


def test_another_threads_line_opens_the_call_and_its_end_is_named() -> None:
    script = Script()
    script(ENTRY, "a")
    assert script(MODULE, "virtio_net", tid=8) == [
        "udev/7          a {",
        "udev/8          load module virtio_net",
    ]
    script(ENTRY, "b", tid=8)
    assert script(ENTRY, "c", tid=9) == ["udev/8          b {"]
    assert script(RETURN, "a", result=0) == ["udev/9          c {", "udev/7          } a = 0"]


def test_flush_shows_an_awaited_call_once() -> None:
    script = Script()
    script(ENTRY, "a")
    assert [line[11:] for line in script.lines.flush()] == ["udev/7          a {"]
    assert script.lines.flush() == []
    assert script(RETURN, "a", result=0) == ["udev/7          } = 0"]


def test_a_return_without_its_entry_says_so() -> None:
    assert script_line(RETURN, "a", result=0) == "a = 0 (entry not seen)"


def test_a_match_is_named() -> None:
    script = Script()
    script(ENTRY, "virtio_dev_match")
    assert script(RETURN, "virtio_dev_match", result=1)[0].endswith("virtio_dev_match = 1 (match)")


def test_a_function_without_a_result_shows_none() -> None:
    script = Script()
    script(ENTRY, "virtio_dev_remove")
    assert script(RETURN, "virtio_dev_remove", duration_ns=5_000)[0].endswith(
        "virtio_dev_remove <0.005 ms>"
    )


def script_line(kind: str, function: str, **members: Any) -> str:
    return Script()(kind, function, **members)[0].removeprefix("udev/7").strip()


def test_names_are_escaped() -> None:
    (line,) = Script()(MODULE, "a\nb", comm="\x1b[2J\u202e\ud800")
    assert line.endswith("load module a\\x0ab")
    assert line.startswith("\\x1b[2J\\u202e\\ud800/7 ")


def test_numbers_and_seconds_since_boot() -> None:
    lines = Lines(numbered=True)
    event = Event(41, 1_999_999_000, 0, 7, "sh", MODULE, module="virtio")
    assert lines.add(event)[0].startswith("   41   1.999999 sh/7 ")


@pytest.mark.parametrize("path", sorted(GOLDEN.glob("*.vtr")), ids=lambda path: path.stem)
def test_a_real_recording_fits_a_terminal_and_keeps_every_result(path: Any) -> None:
    events = reader.read(path.read_bytes().splitlines(keepends=True), path.name).events
    wide, narrow = Lines(), Lines(width=100)
    full = [line for event in events for line in wide.add(event)]
    fitted = [line for event in events for line in narrow.add(event)]
    assert len(full) == len(fitted)
    assert max(map(len, fitted)) <= 100
    assert [line.count(" = ") for line in full] == [line.count(" = ") for line in fitted]
    returned = sum(event.result is not None for event in events)
    assert sum(line.count(" = ") for line in full) == returned


def test_paint_gets_every_style_and_changes_no_text() -> None:
    used = set()

    def paint(text: str, style: str) -> str:
        used.add(style)
        return text

    painted, plain = Script(paint=paint), Script()
    for script in (painted, plain):
        script(ENTRY, "a")
    assert painted(RETURN, "a", result=-5) == plain(RETURN, "a", result=-5)
    assert {"bad", "faint", "name"} <= used
