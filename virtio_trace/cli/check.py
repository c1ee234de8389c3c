# SPDX-License-Identifier: GPL-2.0-or-later
"""virtio-trace check: the recorded events against the expected procedure."""

from __future__ import annotations

import click

from virtio_trace.check.profiles import LINUX, PROFILES
from virtio_trace.cli.support import asked, expected, formats, options, reading, results
from virtio_trace.cli.support.help import Command, Example
from virtio_trace.errors import UsageError
from virtio_trace.report.about import about

_EXAMPLES = (
    Example("Check virtio-trace.vtr and print the source of each step", "virtio-trace check -v"),
    Example(
        "Check against the VirtIO specification, for programs",
        "virtio-trace check --profile spec --format json boot.vtr",
    ),
    Example("Write a test report", "virtio-trace check --format junit -o junit.xml boot.vtr"),
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
@click.option(
    "--kcidb-origin",
    "origin",
    metavar="NAME",
    default="virtio_trace",
    show_default=True,
    help="For kcidb: the name that KernelCI gave your CI.",
)
@click.option("--kcidb-build", "build", metavar="ID", help="For kcidb: the build that KCIDB knows.")
@options.output_options("check", file=True)
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
    origin: str,
    build: str | None,
    row: formats.Format,
    output: str,
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

    junit, ktap, markdown, github and kcidb are for CI systems; docs/ci.md shows how each is used.
    """
    if row.name == "kcidb":
        from virtio_trace.render import kcidb  # noqa: PLC0415 - as every renderer

        kcidb.check(origin, build)
    if (file, baseline) == ("-", "-"):
        raise UsageError("only one of FILE and --baseline can be standard input", "name a file")
    before = None if baseline is None else expected.shown_by(baseline, profile, live=live)
    expect = expected.expected(board, strict, before, time_ratio).apply
    with reading.opened(file) as recording:
        result = asked.judge(recording, devices, drivers, profile=profile, live=live, expect=expect)
        more = {
            formats.ABOUT: about(recording),
            formats.ORIGIN: origin,
            formats.BUILD: build,
        }
    results.show(row, result, file=output, source=file, verbose=verbose, more=more)
    return asked.STATUS[result.verdict]
