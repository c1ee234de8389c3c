# SPDX-License-Identifier: GPL-2.0-or-later
"""The channel out of a guest, and its console."""

from __future__ import annotations

import pytest

from virtio_trace.vm.qemu import channel

STREAM = (
    b'{"schema":"x"}\n{"n":1}\n{"n":2}\n'
    b"virtio-trace: recorder said: virtio-trace: cannot trace here: no BTF\n"
    b"virtio-trace: recorder said:   use another kernel\n"
    b"virtio-trace: recorder ended with status 3\n"
)


@pytest.mark.parametrize("size", [1, 2, 7, 64, 4096])
def test_lines_come_whole_however_they_are_cut(size: int) -> None:
    lines: list[bytes] = []
    guest = channel.Channel(lines.append)
    for at in range(0, len(STREAM), size):
        guest.feed(STREAM[at : at + size])
    guest.close()
    assert lines == [b'{"schema":"x"}\n', b'{"n":1}\n', b'{"n":2}\n']
    assert guest.status == 3
    assert guest.said == ["virtio-trace: cannot trace here: no BTF", "use another kernel"]


def test_a_guest_that_dies_in_mid_line_loses_nothing() -> None:
    lines: list[bytes] = []
    guest = channel.Channel(lines.append)
    guest.feed(b'{"a":1}\n{"b"')
    assert lines == [b'{"a":1}\n']
    guest.close()
    assert lines == [b'{"a":1}\n', b'{"b"']
    assert guest.status is None


def test_the_console_keeps_its_last_lines() -> None:
    tail = channel.ConsoleTail()
    text = b"".join(b"line %d\r\n" % n for n in range(100)) + b"no end"
    for at in range(0, len(text), 5):
        tail.feed(text[at : at + 5])
    lines = tail.lines()
    assert len(lines) == channel.TAIL
    assert lines[-2:] == ["line 99", "no end"]


def test_the_line_in_which_the_kernel_dies_is_kept() -> None:
    tail = channel.ConsoleTail()
    tail.feed(b"[ 1.0] Kernel panic - not syncing: x\r\n" + b"frame\n" * 100)
    assert tail.lines()[:3] == ["[ 1.0] Kernel panic - not syncing: x", "[...]", "frame"]
    tail = channel.ConsoleTail()
    tail.feed(b"[ 1.0] Kernel panic - not syncing: x\r\nframe\n")
    assert tail.lines() == ["[ 1.0] Kernel panic - not syncing: x", "frame"]


def test_a_root_that_does_not_fit_is_noticed() -> None:
    tail = channel.ConsoleTail()
    tail.feed(b"[    5.732769] Initramfs unpacking fai")
    assert not tail.root_too_big
    tail.feed(b"led: write error\r\n")
    assert tail.root_too_big


def test_a_line_without_an_end_is_dropped_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channel, "LONGEST_LINE", 1000)
    lines: list[bytes] = []
    guest = channel.Channel(lines.append)
    guest.feed(b"a\n" + b"x" * 998)
    for _ in range(1000):
        guest.feed(b"y" * 997)
    assert len(guest._rest) <= 1000
    guest.feed(b"z\nb\n")
    guest.feed(b"x" * 2000)
    guest.close()
    assert (lines, guest.dropped) == ([b"a\n", b"b\n"], 2)


def test_many_small_pieces_of_a_line_take_linear_time() -> None:
    """4 MB in 8-byte pieces: a quadratic buffer copies 10**12 bytes."""
    lines: list[bytes] = []
    guest = channel.Channel(lines.append)
    for _ in range(channel.LONGEST_LINE // 8 - 1):
        guest.feed(b"12345678")
    guest.feed(b"\n")
    assert [len(line) for line in lines] == [channel.LONGEST_LINE - 7]


def test_a_status_of_5000_digits_is_none() -> None:
    guest = channel.Channel(lambda _line: None)
    guest.feed(b"virtio-trace: recorder ended with status " + b"9" * 5000 + b"\n")
    assert guest.status is None


def test_a_guest_that_says_much_is_not_kept_whole() -> None:
    guest = channel.Channel(lambda _line: None)
    guest.feed(b"virtio-trace: recorder said: x\n" * 1000)
    assert len(guest.said) == 20
