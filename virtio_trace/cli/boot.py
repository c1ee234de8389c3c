# SPDX-License-Identifier: GPL-2.0-or-later
"""virtio-trace boot: boot a kernel in QEMU and record it from its first module on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, BinaryIO

import click

from virtio_trace.cli.interrupts import Interrupts
from virtio_trace.cli.live import LiveLines
from virtio_trace.cli.output import RecordingOutput
from virtio_trace.cli.progress import ProgressBar
from virtio_trace.cli.say import say, warn
from virtio_trace.errors import CannotTraceError, IncompleteError, UsageError, VirtioTraceError
from virtio_trace.events import EventReader
from virtio_trace.recording import TRAILER
from virtio_trace.render.escape import escape
from virtio_trace.vm import accel as accelerators
from virtio_trace.vm import boot, debian

_STATUS_CANNOT = 3
_STATUS_INCOMPLETE = 4


@click.command
@click.option("--kernel", "vmlinuz", metavar="VMLINUZ", help="The kernel to boot.")
@click.option("--modules", metavar="DIR", help="Its modules, a lib/modules/RELEASE folder.")
@click.option("--debian", "package", metavar="PACKAGE", help="A Debian kernel: NAME or NAME/SUITE.")
@click.option("--append", default="", metavar="STR", help="More for the kernel's command line.")
@click.option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True),
    default=300.0,
    show_default=True,
    metavar="S",
    help="End the guest after S seconds.",
)
@click.option(
    "--accel",
    type=click.Choice(accelerators.CHOICES),
    default="auto",
    show_default=True,
    help="KVM, or software emulation (TCG).",
)
@click.option("--run", "task", metavar="CMD", help="Run CMD in the guest, its drivers loaded.")
@click.option("--keep-console", "console", metavar="FILE", help="Keep what the console said.")
@click.option("-o", "--output", metavar="FILE", help="The recording; - is standard output.")
@click.option("-q", "--quiet", is_flag=True, help="Print no line an event.")
@click.option("-v", "--verbose", is_flag=True, help="Print QEMU's command line.")
@click.argument("options", metavar="[-- QEMU OPTIONS ...]", nargs=-1, type=click.UNPROCESSED)
def command(
    *,
    vmlinuz: str | None,
    modules: str | None,
    package: str | None,
    append: str,
    timeout: float,
    accel: str,
    task: str | None,
    console: str | None,
    output: str | None,
    quiet: bool,
    verbose: bool,
    options: tuple[str, ...],
) -> int:
    """Boot a kernel in QEMU and record it from its first module on.

    The kernel is a VMLINUZ and its modules, or a Debian package, which is fetched and unpacked,
    never installed. QEMU OPTIONS replace the default devices: one virtio net, blk and rng.
    """
    settings = boot.Settings(
        append, timeout, accel, task, options, Path(console) if console else None
    )
    _check_source(vmlinuz, modules, package, options)
    boot.check_settings(settings)
    target = RecordingOutput(output)
    with Interrupts(), ProgressBar() as progress:
        if package is not None:
            debian.parse(package)
            kernel = debian.fetch(package, progress)
            if kernel.note:
                warn(kernel.note)
            plan = boot.Plan(kernel.vmlinuz, kernel.modules, settings)
        else:
            plan = boot.Plan(Path(vmlinuz or ""), Path(modules or ""), settings)
        outcome = record_boot(plan, target, progress, quiet=quiet, verbose=verbose)
    return conclude(outcome, plan, target)


def record_boot(
    plan: boot.Plan,
    target: RecordingOutput,
    progress: ProgressBar,
    *,
    quiet: bool,
    verbose: bool,
) -> boot.Outcome:
    """Boots PLAN; the recording's lines go to TARGET as they come, live lines to standard error.

    Raises what boot.boot raises, IncompleteError when TARGET is full.
    """

    def tell(line: str) -> None:
        if verbose or not line.startswith("qemu: "):
            say(line)

    lines = _Lines(target, quiet)
    try:
        return boot.boot(plan, lines.take, progress, tell)
    finally:
        lines.close()


def conclude(outcome: boot.Outcome, plan: boot.Plan, target: RecordingOutput) -> int:
    """Says how the guest ended. Gives 0 where its recorder did its work, 4 where it is incomplete.

    Raises CannotTraceError when the recorder said that this kernel cannot be traced.
    """
    if outcome.end == "done" and outcome.recorder in (0, _STATUS_INCOMPLETE):
        say(f"the guest ended after {outcome.seconds:.1f} s ({outcome.accel}); {target.name}")
        return outcome.recorder or 0
    if outcome.end == "done":
        raise _recorder_failed(outcome)
    for line in outcome.tail:
        click.echo(f"  | {escape(line)}", err=True)
    if outcome.end == "timeout":
        raise IncompleteError(
            f"the guest had not ended after {plan.settings.timeout:g} s",
            "its console's last lines are above; --timeout S gives it longer",
        )
    raise IncompleteError(
        f"the guest died after {outcome.seconds:.1f} s",
        "its console's last lines are above; --keep-console FILE keeps all of them",
    )


def _recorder_failed(outcome: boot.Outcome) -> VirtioTraceError:
    """The guest's recorder ended with an error: its own two lines, in the guest's name."""
    at = max(
        (n for n, line in enumerate(outcome.said) if line.startswith("virtio-trace: ")), default=-1
    )
    message = outcome.said[at].removeprefix("virtio-trace: ") if at >= 0 else ""
    hint = " ".join(outcome.said[at + 1 :])
    if outcome.recorder == _STATUS_CANNOT and message:
        return CannotTraceError(f"in the guest: {escape(message)}", escape(hint))
    last = escape(outcome.said[-1]) if outcome.said else "nothing"
    return IncompleteError(
        f"the guest's recorder ended with status {outcome.recorder} and said: {last}",
        "--keep-console FILE keeps all that it said",
    )


def _check_source(
    vmlinuz: str | None, modules: str | None, package: str | None, options: tuple[str, ...]
) -> None:
    """Raises UsageError unless exactly one kernel is named, and nothing that is no option."""
    if package is not None and (vmlinuz is not None or modules is not None):
        raise UsageError("--debian and --kernel exclude each other", "give one of them")
    if package is None and (vmlinuz is None or modules is None):
        raise UsageError(
            "which kernel? --debian PACKAGE, or --kernel VMLINUZ with --modules DIR",
            "for example: virtio-trace boot --debian linux-image-cloud-amd64/bookworm",
        )
    if package is not None:
        debian.parse(package)
    if options and not options[0].startswith("-"):
        raise UsageError(f"{options[0]}: not an option of QEMU", "QEMU's options come after --")


class _Lines:
    """Takes a recording's lines from the guest to the file and, as live lines, to the terminal."""

    def __init__(self, target: RecordingOutput, quiet: bool) -> None:
        self._target = target
        self._quiet = quiet
        self._file: BinaryIO | None = None
        self._live: LiveLines | None = None
        self._reader = EventReader()

    def take(self, line: bytes) -> None:
        """One line, its end included. Raises IncompleteError where it cannot be written."""
        if self._file is None:
            self._file = self._target.open()
        try:
            self._file.write(line)
            self._file.flush()
        except BrokenPipeError:
            raise
        except OSError as error:
            raise IncompleteError(
                f"{self._target.name}: the recording ends here: {error.strerror}",
                "give it a place with room: -o FILE",
            ) from error
        self._show(line)

    def close(self) -> None:
        """The end of the guest."""
        if self._live is not None:
            self._live.close()
        self._target.close()

    def _show(self, line: bytes) -> None:
        """A damaged line is shown by nobody: who reads the recording says what is wrong with it."""
        try:
            raw: Any = json.loads(line)
            if self._live is None:
                self._live = LiveLines(int(raw["started_ns"]), self._quiet)
            elif raw.get("kind") != TRAILER:
                self._live.show([self._reader.event(raw)])
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError, VirtioTraceError):
            return
