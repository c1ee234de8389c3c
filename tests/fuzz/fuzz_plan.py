# SPDX-License-Identifier: GPL-2.0-or-later
"""A plan's file, as the executor reads it; and its programs with maps in them."""

from __future__ import annotations

import zlib
from random import Random

from tests.fuzz.mutations import binary
from virtio_trace.errors import BadInputError
from virtio_trace.tracer.executor import plan
from virtio_trace.tracer.executor.program import linked

WORDS = (plan.MAGIC, b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x01\0\0\0", b"\xff\xff\xff\x7f")


def one(data: bytes) -> None:
    try:
        found = plan.decode(data)
    except ValueError as error:
        raise BadInputError(str(error)) from error
    assert plan.decode(plan.encode(found)).release == found.release
    for program in found.programs:
        try:
            code = linked(program.code, [5] * len(found.maps), (1, 2))
        except ValueError:
            continue
        assert len(code) == len(program.code)


def _mutate(data: bytes, random: Random) -> bytes:
    """Change the body, with a right checksum."""
    body = binary(data[plan._HEAD.size :], random, WORDS)
    return plan._HEAD.pack(plan.MAGIC, plan.VERSION, zlib.crc32(body), len(body)) + body


MUTATE = _mutate
