# SPDX-License-Identifier: GPL-2.0-or-later
"""What a guest's executor says of its guest: any text gives a value, or ValueError."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest

from virtio_trace.tracer.session import guest_sections as read
from virtio_trace.tracer.session.guest_sections import Glance, Section

_HOSTILE = (
    "", "\n", "\0", "-1", "9" * 5000, "1 2", "1 2\n3 4 5", "NaN 1 1 1 x", "1e9 1 1 1 ", "\u0663 1",
    "\x85\u2028", "a" * 100_000, "\ud7ff", "[mono", "[" + "x" * 30 + "]", "x y z w Live 0x0",
    "\\xff",    "4294967295 1 0", "1 2\n4294967295 5 1", "0.5 0 1 7 running", "0.5 1 1 7 \x1b[31m",
)  # fmt: skip


@pytest.mark.parametrize(
    "reader",
    [
        *(read.armed, read.refused, read.modules, read.glance, read.number),
        *(read.is_initrd, read.is_left),
    ],
)
def test_hostile_text_raises_nothing_but_valueerror(reader: Callable[[str], Any]) -> None:
    random = Random(1)
    joined = ["".join(random.choices(_HOSTILE, k=3)) for _ in range(200)]
    for text in (*_HOSTILE, *(text[:5000] for text in joined)):
        with contextlib.suppress(ValueError):
            reader(text)


@pytest.mark.parametrize(
    "payload",
    [b"", b"x", b"x\n", b"x\n\n", b"x\n-1\ny", b"x\n" + b"9" * 19 + b"\ny", b"\xff\n\xff\n"],
)
def test_a_section_without_a_time_is_damaged(payload: bytes) -> None:
    assert read.parse(payload) is None


def test_a_section_may_have_any_bytes() -> None:
    assert read.parse(b"a b\n12\nx\n\xff") == Section("a b", 12, "x\n\\xff")
    assert read.parse(b"a\n12") == Section("a", 12, "")


def test_what_a_recording_uses_is_known() -> None:
    for name in ("ready", "sysfs start", "root end", "boot stats cpu12"):
        assert read.is_known(name)
    for name in ("", "sysfs", "look", "boot stats cpu", "boot stats cpu123456", "x" * 1000):
        assert not read.is_known(name)


def test_what_was_armed() -> None:
    found = read.armed("5 9\n4294967295 6 0\n0 7 1\n3 8 0")
    assert (found.since, found.until) == (5, 9)
    assert found.ns == {0: 7, 3: 8}
    assert found.shared == {0}
    assert read.refused("3 p:a/b c: Invalid argument\nx y\n") == {3: "p:a/b c: Invalid argument"}


def test_a_look() -> None:
    assert read.glance("8.5 2 0 4096 ") == Glance(4.25, True, "4096", "")
    assert read.glance("8 0 1 4096 running") == Glance(8.0, False, "4096", "running")
    for text in ("8.5 2 0", "8.5 2 2 4096 ", "8.5 2 0 4096 two words", "-8 2 0 4096 "):
        assert read.glance(text) is None


def test_modules_by_their_state() -> None:
    text = "virtio 16384 1 virtio_net, Live 0x0\nkvm_amd 1 0 - Loading 0x0\n../x 1 0 - Live 0x0\n"
    assert read.modules(text) == {"virtio": True, "kvm_amd": False}


def test_the_boot_ring_is_whole_or_none() -> None:
    texts = {"boot clock": "local [mono]", "boot events": "p:vt/a b", "boot profile": " a 2 1"}
    texts["boot trace"] = "# tracer\n  x\n"
    sections = {name: Section(name, 7, text) for name, text in texts.items()}
    sections["boot stats cpu0"] = Section("", 8, f"overrun: {'9' * 15}\n" * 100_000)
    ring = read.boot_ring(sections)
    assert ring is not None
    assert (ring.clock, ring.lines, ring.end) == ("mono", ["  x\n"], 7)
    assert 0 < ring.overrun < 1 << 63
    for name in texts:
        assert read.boot_ring({n: s for n, s in sections.items() if n != name}) is None


def test_nothing_is_made_outside_of_the_folder(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    text = "==> /../../x <==\ny\nbytes /../x 00\n'/sys/../../x' -> '/etc'\n/../y\n"
    names = ("sysfs start", "modprobe start", "cmdline", "modules start", "deferred start")
    read.rebuild({name: Section(name, 1, text) for name in names}, "start", root)
    assert [path.name for path in tmp_path.iterdir()] == ["root"]
