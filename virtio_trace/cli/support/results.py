# SPDX-License-Identifier: GPL-2.0-or-later
"""Where a command's result goes, and how it is written there in the format that was asked for."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TextIO

from virtio_trace.cli.support import formats
from virtio_trace.cli.support.sink import Sink, text_stream
from virtio_trace.cli.support.terminal import paint_for, width_of
from virtio_trace.errors import CannotTraceError, UsageError, VirtioTraceError

_HINT = "name another file with -o"


def show(
    row: formats.Format,
    subject: Any,
    *,
    file: str = "-",
    source: str | None = None,
    verbose: bool = False,
    prepared: Callable[[], None] | None = None,
    more: Mapping[str, Any] | None = None,
) -> None:
    """Write SUBJECT in the format ROW to FILE; - is standard output. PREPARED is called when all
    has been read, before anything is written. MORE: keyword arguments of which a format may take
    some.

    Raises UsageError if FILE is the recording SOURCE, CannotTraceError if it cannot be written.
    """
    renderer, prepare = row.load()
    subject = prepare(subject)
    if prepared is not None:
        prepared()
    with result_output(file, source) as out:
        known = {
            formats.WIDTH: width_of(out),
            formats.PAINT: paint_for(out),
            formats.VERBOSE: verbose,
            **(more or {}),
        }
        renderer(
            subject,
            out.buffer if row.binary else out,
            **{name: known[name] for name in row.takes},
        )


@contextlib.contextmanager
def result_output(file: str = "-", source: str | None = None) -> Iterator[TextIO]:
    """A text stream to FILE, - being standard output. Raises as show()."""
    if file == "-":
        yield _stdout()
        return
    with contextlib.suppress(OSError):
        if source is not None and Path(file).samefile(source):
            raise UsageError(f"{file}: is the recording itself", _HINT)

    def failed(error: OSError) -> VirtioTraceError:
        return CannotTraceError(f"{file}: cannot write: {error.strerror or error}", _HINT)

    try:
        sink = Sink(file, failed)
    except OSError as error:
        raise failed(error) from error
    with text_stream(sink, encoding="utf-8") as stream:
        yield stream


def _stdout() -> TextIO:
    """Standard output. Raises CannotTraceError if it was closed when Python started."""
    stream: Any = sys.stdout
    if stream is None:
        raise CannotTraceError("standard output is closed", "give it a place to write to")
    out: TextIO = stream
    return out
