# SPDX-License-Identifier: GPL-2.0-or-later
"""A guest's output on its events channel and console, cut into pieces at any place."""

from __future__ import annotations

from virtio_trace.vm.qemu.channel import Channel, ConsoleTail

WORDS = (
    b"virtio-trace: ", b"virtio-trace: recorder ended with status ",
    b"virtio-trace: recorder said: ",
    b"virtio-trace: until yes: ", b"virtio-trace: until no: ", b"\n", b"\r\n",
    b"Kernel panic - not syncing: ", b"Initramfs unpacking failed: write error", b"login:",
    b"ALERT!  ", b" does not exist", b"[***   ] Job ", b"[  OK  ] ", b"/start running (1s / ",
    b"(1 of 2) ", b"\x1bM\r\x1b[K", b"\x1b[1;1H", b"(initramfs) ", b"[!!] ", b"<Tab> moves",
    b"You are in emergency mode", b"[FAILED] Failed to start ", b"\xe2\x80\xa6",
)  # fmt: skip


def one(data: bytes) -> None:
    step = data[0] + 1 if data else 1
    taken: list[bytes] = []
    channel = Channel(taken.append)
    tail = ConsoleTail("login:")
    for start in range(1, len(data), step):
        channel.feed(data[start : start + step])
        tail.feed(data[start : start + step])
    channel.close()
    reason = tail.standstill()
    said = (*channel.said, *tail.lines(), *tail.causes(), reason.why if reason else "")
    "\n".join(said).encode()
    whole = b"".join(taken)
    assert len(whole) <= max(0, len(data) - 1)
    assert all(line.endswith(b"\n") for line in taken[:-1])
