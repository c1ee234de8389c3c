# SPDX-License-Identifier: GPL-2.0-or-later
"""virtio-trace diff: what differs between two recordings."""

from __future__ import annotations

import click

from virtio_trace.check.profiles import LINUX
from virtio_trace.cli.support import expected, formats, options, results
from virtio_trace.cli.support.help import Command, Example
from virtio_trace.errors import UsageError
from virtio_trace.report.diff.compare import compare

_EXAMPLES = (
    Example("Say what a new kernel does differently", "virtio-trace diff old.vtr new.vtr"),
    Example(
        "Also say what takes more than twice as long",
        "virtio-trace diff --time-ratio 2 old.vtr new.vtr",
    ),
)
_STATUS = {True: 0, False: 1, None: 4}


@click.command(cls=Command, examples=_EXAMPLES)
@click.argument("old", metavar="OLD")
@click.argument("new", metavar="NEW")
@expected.time_ratio_option
@options.output_options("diff", file=True)
def command(
    *,
    old: str,
    new: str,
    time_ratio: float | None,
    row: formats.Format,
    output: str,
) -> int:
    """Show what differs between two recordings.

    Compared are devices, drivers, states, steps, attempts to bind and their reasons, features,
    status, virtqueues and vectors, functions, and the order of calls within an attempt. What
    depends on scheduling or timing is not: virtioN, CPUs, threads, which device came first.

    Devices are paired by address and type; one whose address changed by type. - is standard input.
    The exit status is 0 if nothing differs, 1 if something does, 4 if nothing known does, but one
    recording does not show everything.
    """
    if (old, new) == ("-", "-"):
        raise UsageError("only one of OLD and NEW can be standard input", "name a file")
    found = compare(expected.shown_by(old, LINUX), expected.shown_by(new, LINUX), time_ratio)
    results.show(row, found, file=output, source=new)
    return _STATUS[found.same]
