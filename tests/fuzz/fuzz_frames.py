# SPDX-License-Identifier: GPL-2.0-or-later
"""What comes from a guest's port in frames, cut anywhere, and the recording made from it."""

from __future__ import annotations

import struct
import zlib
from random import Random

from tests import framed
from tests.fuzz.accepted import accepted
from tests.fuzz.harnesses import FOLDER
from tests.fuzz.mutations import binary
from tests.unit.tracer.session.guest_streams import scratch
from virtio_trace.check import verdict
from virtio_trace.errors import IncompleteError
from virtio_trace.graph import builder
from virtio_trace.recording import reader
from virtio_trace.tracer.executor.frames import (
    CHECKSUM,
    COMPRESSED,
    HEADER,
    HEADER_BYTES,
    MAGIC,
    RECORDS,
)
from virtio_trace.tracer.executor.ring import split
from virtio_trace.tracer.session.guest_recording import GuestRecording
from virtio_trace.vm.qemu.executor_channel import ExecutorChannel
from virtio_trace.vm.root.until import Look

_SENT, TASK, _LINES = framed.load(FOLDER.parent / "golden" / "executor-6.12")
WORDS = (
    MAGIC, b"\n", b"armed\n1\n", b"ready\n1\n", b"look\n1\n", b"kmsg\n1\n", b"failed\n1\n",
    b"end\n",
    b"kprobes loaded\n1\n", b"refused\n1\n", b"boot trace\n1\n", b"boot events\n1\n",
    b"boot clock\n1\n[mono]", b"boot profile\n1\n", b"modules start\n1\n", b"sysfs start\n1\n",
    b"root start\n1\n0 rootfs", b"profile\n1\n", b"lost\n1\n", b"18446744073709551615", b"\xff" * 8,
    b"bytes /sys/firmware/acpi/tables/VIOT ", b"iomem ", b"999999999999999999", b"0.5 1 1 4096 ",
)  # fmt: skip


class _Sink(GuestRecording):
    def looks(self) -> list[Look]:
        seen, self.glances = self.glances, []
        return [Look(one.idle, one.in_initrd, one.activity, one.system) for one in seen]


def one(data: bytes) -> None:
    step = data[0] * 16 + 1 if data else 1
    lines: list[bytes] = []
    sink = _Sink(TASK, lines.append, scratch)
    channel = ExecutorChannel(sink)
    try:
        for start in range(1, len(data), step):
            channel.feed(data[start : start + step])
            channel.looks()
        channel.close()
    except IncompleteError:
        pass  # lines so far are a recording that was cut
    "\n".join(channel.said).encode()
    if lines:
        with accepted():
            verdict.check(builder.build(reader.read(lines, "assembled")))


def frames_in(data: bytes) -> list[tuple[int, int]]:
    """Where the frames in DATA begin and end."""
    found, at = [], data.find(MAGIC)
    while 0 <= at <= len(data) - HEADER_BYTES:
        length = HEADER.unpack_from(data, at)[6]
        found.append((at, min(len(data), at + HEADER_BYTES + length)))
        at = data.find(MAGIC, found[-1][1])
    return found


def _mutate(data: bytes, random: Random) -> bytes:
    """Change a frame, with right checksums: else all are refused alike."""
    places = frames_in(data)
    if not places:
        return data
    at, end = random.choice(places)
    if random.random() < 0.2:  # twice, or in another place
        other = random.choice(places)[0]
        return data[:other] + data[at:end] + data[other:]
    head = list(HEADER.unpack_from(data, at))
    payload = data[at + HEADER_BYTES : end]
    if head[2] & COMPRESSED:
        try:
            payload = zlib.decompress(payload)
        except zlib.error:
            return data
    if random.random() < 0.2:
        head[random.randrange(1, 6)] = random.choice((0, 1, 2, 3, 255))
    else:
        payload = (
            _number(payload, random) if random.random() < 0.4 else (binary(payload, random, WORDS))
        )
        head[5] = len(split(payload)) if head[1] == RECORDS else 0
    head[2], head[6], head[7] = 0, len(payload), zlib.crc32(payload)
    try:
        made = HEADER.pack(*head)
    except struct.error:
        return data
    return data[:at] + made + CHECKSUM.pack(zlib.crc32(made)) + payload + data[end:]


def _number(payload: bytes, random: Random) -> bytes:
    """A number of eight bytes is another."""
    if len(payload) < 8:
        return payload
    at = random.randrange(0, len(payload) - 7) & ~7
    value = random.choice((0, 1, 1 << 31, 1 << 60, 1 << 63, (1 << 64) - 1, random.getrandbits(64)))
    return payload[:at] + value.to_bytes(8, "little") + payload[at + 8 :]


MUTATE = _mutate
