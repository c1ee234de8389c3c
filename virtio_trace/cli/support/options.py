# SPDX-License-Identifier: GPL-2.0-or-later
"""What the commands that read share: the FILE argument, its opening, output and colour."""

from __future__ import annotations

import contextlib
import errno
import gc
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, TextIO, TypeVar

import click

from virtio_trace.cli.support.output import DEFAULT
from virtio_trace.cli.support.say import warn
from virtio_trace.errors import BadInputError, CannotTraceError, UsageError
from virtio_trace.render.words import Paint, plain

if TYPE_CHECKING:
    from virtio_trace.recording.reader import Recording

_Command = TypeVar("_Command", bound=Callable[..., Any])
_WIDTH = 100
_NARROWEST = 40
_WARNINGS = 5
_LONGEST_LINE = 1 << 26
_STYLES: dict[str, dict[str, Any]] = {
    "good": {"fg": "green"},
    "bad": {"fg": "red", "bold": True},
    "unsure": {"fg": "yellow"},
    "name": {"bold": True},
    "faint": {"dim": True},
    "heading": {"bold": True},
}

file_argument = click.argument("file", metavar="[FILE]", default=DEFAULT)
"""The recording; - is standard input."""


def output_options(*formats: str, file: bool = False) -> Callable[[_Command], _Command]:
    """--format with FORMATS, the first the default, -v, and -o where FILE."""

    def decorate(function: _Command) -> _Command:
        function = click.option(
            "-v", "--verbose", is_flag=True, help="Say more on standard error."
        )(function)
        if file:
            function = click.option(
                "-o", "--output", metavar="FILE", default="-", help="Write to FILE."
            )(function)
        return click.option(
            "--format",
            "style",
            type=click.Choice(formats),
            default=formats[0],
            show_default=True,
            help="What to print.",
        )(function)

    return decorate


def load(file: str, verbose: bool = False, warn_lacks: bool = True) -> Recording:
    """Read the recording FILE and warn of what it lacks. Raises BadInputError."""
    # Here, as a command that reads no recording would wait for them.
    from virtio_trace.check.coverage import lacks as lacks_of  # noqa: PLC0415
    from virtio_trace.recording import reader  # noqa: PLC0415

    name = "standard input" if file == "-" else file
    # Nothing that is read here is ever garbage before the process ends.
    gc.disable()
    try:
        with _opened(file) as stream:
            found: Recording = reader.read(_lines(stream), name)
    except OSError as error:
        raise BadInputError(f"{name}: {error.strerror or error}", _hint(file, error)) from error
    lacks: list[str] = lacks_of(found) if warn_lacks else []
    shown = len(lacks) if verbose else _WARNINGS
    for message in lacks[:shown]:
        warn(message)
    if len(lacks) > shown:
        warn(f"and {len(lacks) - shown} more; -v shows all")
    return found


def _opened(file: str) -> contextlib.AbstractContextManager[BinaryIO]:
    if file != "-":
        return Path(file).open("rb")
    if sys.stdin is None:
        raise OSError(errno.EBADF, "is closed")
    return contextlib.nullcontext(sys.stdin.buffer)


def _lines(stream: BinaryIO) -> Iterator[bytes]:
    """A file that is no recording may be one endless line."""
    while line := stream.readline(_LONGEST_LINE):
        yield line


def _hint(file: str, error: OSError) -> str:
    if isinstance(error, FileNotFoundError):
        if file == DEFAULT:
            return "make one: virtio-trace record, or name a recording"
        return "name a recording that virtio-trace record or boot made"
    if isinstance(error, IsADirectoryError):
        return "name a file in it"
    if isinstance(error, PermissionError):
        return f"a recording made with sudo belongs to root: sudo chown $USER {file}"
    return "name another file"


@contextlib.contextmanager
def result_output(file: str = "-", source: str | None = None) -> Iterator[TextIO]:
    """Where a result goes: standard output, or FILE, which must not be the recording SOURCE."""
    if file == "-":
        yield _stdout()
        return
    path = Path(file)
    with contextlib.suppress(OSError):
        if source is not None and path.samefile(source):
            raise UsageError(f"{file}: is the recording itself", "name another file with -o")
    try:
        with path.open("w", encoding="utf-8") as stream:
            yield stream
    except OSError as error:
        raise CannotTraceError(
            f"{file}: cannot write: {error.strerror or error}", "name another file with -o"
        ) from error


def _stdout() -> TextIO:
    """Standard output, in which no character is an error whatever the locale."""
    stream: Any = sys.stdout
    if stream is None:
        raise OSError(errno.EBADF, "standard output is closed")
    with contextlib.suppress(AttributeError):
        stream.reconfigure(errors="backslashreplace")
    out: TextIO = stream
    return out


def paint_for(out: TextIO) -> Paint:
    """Colour on a terminal, unless NO_COLOR says otherwise (https://no-color.org)."""
    if not out.isatty() or os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return plain
    return lambda text, style: click.style(text, **_STYLES[style])


def width_of(out: TextIO) -> int | None:
    """The width of OUT's own terminal; None where OUT is none and nothing needs to fit."""
    if not out.isatty():
        return None
    columns = os.environ.get("COLUMNS", "")
    if columns.isascii() and columns.isdigit() and int(columns[:6]) > 0:
        return max(int(columns[:6]), _NARROWEST)
    try:
        width = os.get_terminal_size(out.fileno()).columns
    except OSError:
        width = 0
    return max(width or _WIDTH, _NARROWEST)
