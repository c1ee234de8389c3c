# SPDX-License-Identifier: GPL-2.0-or-later
"""Which events a person who watches sees."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.unit.surgery import GOLDEN
from virtio_trace.recording import reader
from virtio_trace.recording.events import ENTRY, HIT, MODULE, RETURN, Detail, Event
from virtio_trace.recording.evidence import DriverFacts, Evidence
from virtio_trace.render.concern import Concern
from virtio_trace.render.lines import Lines

OURS = DriverFacts("virtio_net", "virtio_net", "x.ko", "virtio_net_driver", (), {})
EVIDENCE = Evidence("6.1", drivers=(OURS,))


class Thread:
    """Makes the events of one thread; shown() numbers them."""

    def __init__(self, tid: int) -> None:
        self.tid = tid

    def event(self, kind: str, **members: object) -> Event:
        return Event(0, 0, 0, self.tid, "modprobe", kind, **members)  # type: ignore[arg-type]

    def load(self, module: str) -> Event:
        return self.event(MODULE, module=module)

    def init(self, module: str, result: int | None = None) -> Event:
        detail = Detail(name=module)
        kind = ENTRY if result is None else RETURN
        return self.event(kind, probe="do_init_module", function="do_init_module",
                          result=result, detail=detail)  # fmt: skip

    def hit(self, function: str) -> Event:
        return self.event(HIT, probe=function, function=function)

    def match(self, result: int | None = None) -> Event:
        kind = ENTRY if result is None else RETURN
        return self.event(kind, probe="virtio_dev_match", function="virtio_dev_match",
                          result=result, driver="virtio_net")  # fmt: skip


def shown(events: list[Event]) -> tuple[list[str], str]:
    """The lines without their times, and the summary."""
    concern = Concern(EVIDENCE)
    lines = Lines(concern=concern)
    numbered = [replace(event, seq=n, ns=n) for n, event in enumerate(events, 1)]
    said = [line for event in numbered for line in lines.add(event)] + lines.flush()
    return [line.split(maxsplit=2)[2] for line in said], concern.summary()


def test_strangers_and_matches_that_said_no_are_counted() -> None:
    one = Thread(1)
    events = [
        one.load("crypto"), one.init("crypto"), one.init("crypto", -19),
        one.load("virtio_net"), one.init("virtio_net"),
        one.match(), one.match(0), one.match(), one.match(1),
        one.init("virtio_net", 0), one.load("loop"),
    ]  # fmt: skip
    assert shown(events) == (
        ["load module virtio_net", "do_init_module virtio_net {",
         "virtio_dev_match virtio_net = 1 (match)", "} = 0"],
        "2 loads and 1 init of other modules, 1 non-match",
    )  # fmt: skip


def test_the_init_of_a_stranger_with_something_of_virtio_in_it_is_shown() -> None:
    """An out-of-tree driver that is not among the kernel's files."""
    one = Thread(1)
    events = [
        one.load("mine"), one.init("mine"), one.hit("register_virtio_driver"), one.match(),
        one.match(0), one.init("mine", 0),
    ]  # fmt: skip
    lines, summary = shown(events)
    assert lines == ["do_init_module mine {", "register_virtio_driver", "} = 0"]
    assert summary == "1 load of other modules, 1 non-match"


def test_threads_do_not_mix() -> None:
    """While a stranger's init runs, another thread has news: it is not inside."""
    one, two = Thread(1), Thread(2)
    events = [
        one.init("crypto"), two.match(), two.hit("virtio_dev_probe"), one.init("crypto", 0),
    ]  # fmt: skip
    lines, summary = shown(events)
    assert lines == ["virtio_dev_match virtio_net {", "virtio_dev_probe"]
    assert summary == "1 init of other modules"


def test_nothing_left_out_is_nothing_said() -> None:
    assert shown([Thread(1).load("virtio_net")]) == (["load module virtio_net"], "")


def test_a_boot_of_debian() -> None:
    """Every event that is about VirtIO has its line; no other has."""
    path = GOLDEN / "debian-6.1.vtr"
    recording = reader.read(path.read_bytes().splitlines(keepends=True), path.name)
    concern = Concern(recording.header.evidence)
    some, every = Lines(concern=concern), Lines()
    events = list(recording.events)
    found = [line for event in events for line in some.add(event)]
    assert not [line for line in found if "crypto" in line or "_cpufreq" in line]
    everything = [line for event in events for line in every.add(event)]
    assert set(found) < set(everything)
    gone = [line for line in everything if line not in found]
    assert len(gone) == concern.loads + concern.inits + concern.matches
    assert (concern.loads, concern.inits) == (len([x for x in gone if "load module" in x]),) * 2


@pytest.mark.parametrize("width", [80, 100])
@pytest.mark.parametrize("path", sorted(GOLDEN.glob("*.vtr")), ids=lambda path: path.stem)
def test_no_line_is_wider_than_a_terminal(path: Path, width: int) -> None:
    """What is left out is said by the lines around it; a function and its result never are."""
    recording = reader.read(path.read_bytes().splitlines(keepends=True), path.name)
    lines, whole = Lines(width), Lines()
    for event in recording.events:
        for narrow, wide in zip(lines.add(event), whole.add(event), strict=True):
            assert len(narrow) <= width
            assert set(narrow.split()) <= set(wide.split())
