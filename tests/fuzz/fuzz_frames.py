# SPDX-License-Identifier: GPL-2.0-or-later
"""What comes from a guest's port, in frames and between them, cut into pieces at any place."""

from __future__ import annotations

import zlib
from random import Random

from virtio_trace.tracer.executor.frames import CHECKSUM, HEADER, HEADER_BYTES, MAGIC
from virtio_trace.vm.qemu.channel import Channel
from virtio_trace.vm.qemu.frame_reader import MOST_LOST

WORDS = (MAGIC, b"virtio-trace: ", b"virtio-trace: recorder ended with status 0\n", b"\n")


def one(data: bytes) -> None:
    step = data[0] + 1 if data else 1
    taken: list[bytes] = []
    channel = Channel(taken.append, framed=True)
    for start in range(1, len(data), step):
        channel.feed(data[start : start + step])
    channel.close()
    "\n".join(channel.said).encode()
    assert all(line.endswith(b"\n") and line.count(b"\n") == 1 for line in taken)
    assert 0 <= channel.lost <= MOST_LOST


def _mutate(data: bytes, random: Random) -> bytes:
    """Change a number of a frame's header, with a right checksum: else all are refused alike."""
    places = [at for at in range(len(data)) if data.startswith(MAGIC, at)]
    if not places:
        return data
    at = random.choice(places)
    head = bytearray(data[at : at + HEADER.size])
    if len(head) < HEADER.size:
        return data
    head[random.randrange(len(MAGIC), len(head))] = random.choice(
        (0, 1, 2, 255, random.getrandbits(8))
    )
    checksum = CHECKSUM.pack(zlib.crc32(head))
    return data[:at] + bytes(head) + checksum + data[at + HEADER_BYTES :]


MUTATE = _mutate
