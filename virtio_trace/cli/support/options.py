# SPDX-License-Identifier: GPL-2.0-or-later
"""The arguments and options that several commands have."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from virtio_trace.cli.support import formats
from virtio_trace.cli.support.output import DEFAULT
from virtio_trace.kernel.files.machine import NAMES

_Command = TypeVar("_Command", bound=Callable[..., Any])

file_argument = click.argument("file", metavar="[FILE]", default=DEFAULT)
"""The recording; - is standard input."""


def scope_options(function: _Command) -> _Command:
    """--device and --driver, which may be repeated; the function gets ``devices``, ``drivers``."""
    function = click.option(
        "--driver", "drivers", metavar="NAME", multiple=True, help="Only this driver's devices."
    )(function)
    return click.option(
        "--device",
        "devices",
        metavar="DEVICE",
        multiple=True,
        help="Only this device: its address, virtioN, or an interface or disk of it.",
    )(function)


_VERBOSE = {
    "check": "Also print each step's text and source.",
    "graph": "Print all warnings, not only the first.",
    "inspect": "Say which kernel image the types are from.",
    "report": "A line for each feature, all virtqueues, and all warnings.",
    "script": "Print status and features in hexadecimal, and all warnings.",
}
"""What -v adds, by command. Others have no -v."""


def with_machines(function: _Command) -> _Command:
    """Put the machines that are supported in place of ``{machines}`` in FUNCTION's docstring, which
    is its help."""
    function.__doc__ = (function.__doc__ or "").replace("{machines}", NAMES)
    return function


def output_options(command: str, *, file: bool = False) -> Callable[[_Command], _Command]:
    """--format with the formats of COMMAND, -v if it adds something, and if FILE, -o.

    The command's function gets ``row``, the format's row in formats.FORMATS.
    """
    accepted = formats.names(command)

    def row(_context: click.Context, _option: click.Parameter, name: str) -> formats.Format:
        return formats.find(command, name)

    def decorate(function: _Command) -> _Command:
        if more := _VERBOSE.get(command):
            function = click.option("-v", "--verbose", is_flag=True, help=more)(function)
        if file:
            function = click.option(
                "-o", "--output", metavar="FILE", default="-", help="Write to FILE."
            )(function)
        return click.option(
            "--format",
            "row",
            type=click.Choice(accepted),
            default=accepted[0],
            show_default=True,
            callback=row,
            help="What to print.",
        )(function)

    return decorate
