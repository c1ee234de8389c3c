# SPDX-License-Identifier: GPL-2.0-or-later
"""virtio-trace script: the events of a recording in order."""

from __future__ import annotations

import re

import click

from virtio_trace.cli.support import formats, options, reading, results
from virtio_trace.cli.support.help import Command, Example
from virtio_trace.errors import UsageError
from virtio_trace.report.selection import Moment, Selection, Wanted

_TIME = re.compile(r"(\+?)([0-9]{1,9})(?:\.([0-9]{1,9}))?", re.ASCII)


def _moment(_context: click.Context, option: click.Parameter, text: str | None) -> Moment | None:
    """Seconds, without the loss of digits that a float has."""
    if text is None:
        return None
    found = _TIME.fullmatch(text)
    if found is None:
        raise UsageError(
            f"--{option.name} {text}: is no time in seconds",
            "give it as script prints it (12.345678), or from the recording's start on (+1.5)",
        )
    plus, whole, fraction = found.groups()
    digits = (fraction or "").ljust(6, "0")
    # script prints microseconds: the last one is meant as a whole
    digits = digits.ljust(9, "9" if option.name == "until" else "0")
    return Moment(int(whole) * 10**9 + int(digits), bool(plus))


_EXAMPLES = (
    Example("Print what happened to a device", "virtio-trace script --device 0000:00:05.0"),
)


@click.command(cls=Command, examples=_EXAMPLES)
@options.file_argument
@options.scope_options
@click.option(
    "--probe",
    "probes",
    metavar="NAME",
    multiple=True,
    help="Only this probe point or function; * and ? are wildcards.",
)
@click.option(
    "--thread",
    "threads",
    metavar="TID|NAME",
    multiple=True,
    help="Only this thread; * and ? are wildcards in its name.",
)
@click.option("--since", metavar="TIME", callback=_moment, help="Only events from TIME on.")
@click.option("--until", metavar="TIME", callback=_moment, help="Only events up to TIME.")
@options.output_options("script")
def command(
    *,
    file: str,
    devices: tuple[str, ...],
    drivers: tuple[str, ...],
    probes: tuple[str, ...],
    threads: tuple[str, ...],
    since: Moment | None,
    until: Moment | None,
    row: formats.Format,
    verbose: bool,
) -> int:
    """Print the events of a recording in order, nested by call.

    FILE defaults to virtio-trace.vtr; - is standard input, whose events are printed as they come.
    json prints each event on a line as in the recording, with its depth.

    With several options, only events that all of them select are printed; of options of one name,
    one is enough. --driver selects the events that name the driver, and the loads of its module.
    TIME is in seconds, as script prints it (12.345678), or since the recording's start (+1.5).
    Quote wildcards: --probe 'virtio_dev_*'. From a pipe, virtioN, an interface or a disk is known
    from the event on that shows it.
    """
    wanted = Wanted(devices, drivers, probes, threads, since, until)
    with reading.opened(file, once=True) as recording:
        selection = Selection(recording, wanted)
        if recording.is_repeatable:  # read it first: of a damaged file, nothing is printed
            selection.look_up()
            reading.warn_lacks(recording, verbose)
        results.show(row, selection, verbose=verbose)
        if not recording.is_repeatable:
            reading.warn_lacks(recording, verbose)
    selection.check()
    return 0
