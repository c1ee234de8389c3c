# SPDX-License-Identifier: GPL-2.0-or-later
"""What a process of an import's pool does: it reads recordings and returns their rows.

It imports no library of the extra: a worker starts quickly and stays small.
"""

from __future__ import annotations

import bisect
import gc
import hashlib
import mmap
import os
import signal
import tempfile
import threading
from dataclasses import dataclass, field
from datetime import UTC, datetime
from multiprocessing import connection, parent_process
from pathlib import Path
from typing import IO, BinaryIO, cast

from virtio_trace.errors import BadInputError
from virtio_trace.fleet import sources
from virtio_trace.fleet.rows import Rows, rows
from virtio_trace.fleet.schema import TABLES
from virtio_trace.recording import reader
from virtio_trace.recording.recording_file import ReadError, RecordingFile
from virtio_trace.recording.source import Source

ID_LENGTH = 32
"""Hexadecimal digits of a boot's id."""

_IN_MEMORY = 4 << 20
"""Bytes. A longer recording is copied to a temporary file, and read from it."""

_BLOCK = 1 << 18


@dataclass(slots=True)
class Chunk:
    """What became of some recordings. ``rows`` by table; ``boots`` are their ids, in order.
    ``known``: how many were in the lake already. ``damaged``: why, for each that cannot be read."""

    rows: Rows = field(default_factory=lambda: {table: [] for table in TABLES})
    boots: list[str] = field(default_factory=list)
    known: int = 0
    damaged: list[str] = field(default_factory=list)


class KnownIds:
    """The ids of the boots in a lake: FILE has them sorted, one after the other."""

    def __init__(self, file: Path) -> None:
        self._size = file.stat().st_size
        self._ids: mmap.mmap | None = None
        if self._size:
            with file.open("rb") as stream:
                self._ids = mmap.mmap(stream.fileno(), 0, prot=mmap.PROT_READ)

    def __contains__(self, boot: str) -> bool:
        if self._ids is None:
            return False
        wanted, count = boot.encode(), self._size // ID_LENGTH
        at = bisect.bisect_left(range(count), wanted, key=self._at)
        return at < count and self._at(at) == wanted

    def _at(self, number: int) -> bytes:
        assert self._ids is not None
        return self._ids[number * ID_LENGTH : (number + 1) * ID_LENGTH]


_known: KnownIds


def start(known: Path) -> None:
    """Prepare this process. KNOWN is the file of KnownIds."""
    global _known  # noqa: PLW0603 - the pool gives a worker no other place
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends the pool
    threading.Thread(target=_end_with_parent, daemon=True).start()
    # Most objects are dropped when their count of references is 0. The modules are not searched.
    gc.freeze()
    gc.set_threshold(200_000, 50, 50)
    _known = KnownIds(known)


def _end_with_parent() -> None:
    """End when the parent was killed: a pool's worker would wait for work for ever."""
    parent = parent_process()
    if parent is not None:
        connection.wait([parent.sentinel])
        os._exit(1)


def read(found: list[sources.Found]) -> Chunk:
    """Read the recordings FOUND."""
    chunk = Chunk()
    for one in found:
        try:
            _read(one, chunk)
        except BadInputError as error:
            chunk.damaged.append(str(error))
        except ReadError as failed:
            chunk.damaged.append(f"{one.name}: {failed.error.strerror or failed.error}")
        except OSError as error:
            chunk.damaged.append(f"{one.name}: {error.strerror or error}")
        except Exception as error:
            error.add_note(f"while importing {one.name}")
            raise
    return chunk


def _read(one: sources.Found, chunk: Chunk) -> None:
    with tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY) as copy:
        with sources.opened(one.name) as stream:
            boot = _copy(stream, copy)
        if boot in _known or boot in chunk.boots:
            chunk.known += 1
            return
        when = one.recorded_at or datetime.now(UTC)
        made = rows(_recording(cast(BinaryIO, copy), one.name), boot, one.name, when)
        for table, more in made.items():
            chunk.rows[table] += more
        chunk.boots.append(boot)


def _recording(copy: BinaryIO, name: str) -> Source:
    """The recording in COPY; a short one is read into memory, as its events are read twice. Raises
    BadInputError, ReadError."""
    is_short = copy.tell() <= _IN_MEMORY
    copy.seek(0)
    return reader.read(copy, name) if is_short else RecordingFile(copy, name)


def _copy(stream: BinaryIO, copy: IO[bytes]) -> str:
    """Copy STREAM; return its id."""
    digest = hashlib.sha256()
    while block := stream.read(_BLOCK):
        digest.update(block)
        copy.write(block)
    return digest.hexdigest()[:ID_LENGTH]
