# SPDX-License-Identifier: GPL-2.0-or-later
"""A guest's output on its events channel and console, cut into pieces at any place."""

from __future__ import annotations

from virtio_trace.vm.qemu.channel import Channel, ConsoleTail

WORDS = (
    b"virtio-trace: ", b"virtio-trace: recorder ended with status ",
    b"virtio-trace: recorder said: ",
    b"virtio-trace: until yes: ", b"virtio-trace: until no: ", b"\n", b"\r\n",
    b"Kernel panic - not syncing", b"Initramfs unpacking failed: write error", b"login:",
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
    "\n".join((*channel.said, *tail.lines())).encode()
    whole = b"".join(taken)
    assert len(whole) <= max(0, len(data) - 1)
    assert all(line.endswith(b"\n") for line in taken[:-1])
