# SPDX-License-Identifier: GPL-2.0-or-later
"""What formats for other systems say of the recording itself."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import virtio_trace
from virtio_trace.recording.source import Source
from virtio_trace.recording.writer import dump


@dataclass(frozen=True, slots=True)
class About:
    """``id``: 32 hexadecimal digits, the same whenever the same recording is read, and another one
    for each other recording. ``release`` and ``machine`` are the kernel's, as uname(2) has them.
    ``tool``: what is writing."""

    id: str
    release: str
    machine: str
    tool: str = f"virtio-trace {virtio_trace.__version__}"


def about(recording: Source) -> About:
    """What is known of RECORDING."""
    return About(identity(recording), recording.header.release, recording.header.machine)


def identity(recording: Source) -> str:
    """The ``id`` of RECORDING: a hash of its header and its trailer. These have the time of its
    start, its number of events and the state at the end."""
    found = hashlib.sha256(dump(recording.header.to_json()))
    if recording.trailer is not None:
        found.update(dump(recording.trailer.to_json()))
    return found.hexdigest()[:32]
