# SPDX-License-Identifier: GPL-2.0-or-later
"""virtio-trace check: the recorded events against the expected procedure."""

from __future__ import annotations

import click

from virtio_trace.check.profiles import LINUX, PROFILES
from virtio_trace.cli.support import asked, expected, formats, options, reading, results
from virtio_trace.cli.support.help import Command, Example
from virtio_trace.errors import UsageError

_EXAMPLES = (
    Example("Check virtio-trace.vtr and print the source of each step", "virtio-trace check -v"),
    Example(
        "Check against the VirtIO specification, for programs",
        "virtio-trace check --profile spec --format json boot.vtr",
    ),
    Example("Hold a boot to a board", "virtio-trace check --board machine.toml boot.vtr"),
)


@click.command(cls=Command, examples=_EXAMPLES)
@options.file_argument
@click.option(
    "--profile",
    type=click.Choice(tuple(PROFILES)),
    default=LINUX,
    show_default=True,
    help="The expected procedure.",
)
@expected.board_options
@click.option(
    "--baseline", metavar="RECORDING", help="What differs from this recording deviates, as by diff."
)
@expected.time_ratio_option
@options.scope_options
@click.option(
    "--no-boot-events",
    "live",
    is_flag=True,
    help="Leave out what the kernel recorded of its own boot.",
)
@options.output_options("check")
def command(
    *,
    file: str,
    profile: str,
    board: str | None,
    strict: bool,
    baseline: str | None,
    time_ratio: float | None,
    devices: tuple[str, ...],
    drivers: tuple[str, ...],
    live: bool,
    row: formats.Format,
    verbose: bool,
) -> int:
    """Check a recording against the procedure that Linux follows.

    The procedure is how Linux registers and binds VirtIO devices and drivers. With --profile spec
    it is the VirtIO specification's for initialising a device (VirtIO 1.x, 3.1.1); known deviations
    of Linux are then notes.

    With --device or --driver the verdict is about these: what concerns only others, and what was
    there before the recording, does not count. A loss that may concern them does.

    --board adds the devices that a machine must have (virtio-trace board writes one), --baseline
    that nothing differs from another recording (as virtio-trace diff shows). --strict makes
    warnings errors, above all a device without a driver; what is unknown stays unknown.

    FILE defaults to virtio-trace.vtr; - is standard input. The exit status is 0 if the recording
    conforms, 1 if it deviates, 4 if it proves neither. -v shows the source of each step.
    """
    if (file, baseline) == ("-", "-"):
        raise UsageError("only one of FILE and --baseline can be standard input", "name a file")
    before = None if baseline is None else expected.shown_by(baseline, profile, live=live)
    expect = expected.expected(board, strict, before, time_ratio).apply
    with reading.opened(file) as recording:
        result = asked.judge(recording, devices, drivers, profile=profile, live=live, expect=expect)
    results.show(row, result, verbose=verbose)
    return asked.STATUS[result.verdict]
