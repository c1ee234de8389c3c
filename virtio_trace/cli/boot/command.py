# SPDX-License-Identifier: GPL-2.0-or-later
"""virtio-trace boot: boot a kernel in QEMU and record it from its first module on."""

from __future__ import annotations

import sys
from contextlib import ExitStack, nullcontext
from pathlib import Path

import click

from virtio_trace.check import verdict
from virtio_trace.cli.boot.collectors import collecting
from virtio_trace.cli.boot.guest_lines import GuestLines
from virtio_trace.cli.boot.source import Source
from virtio_trace.cli.check import STATUS
from virtio_trace.cli.support import options
from virtio_trace.cli.support.interrupts import Interrupts
from virtio_trace.cli.support.output import RecordingOutput
from virtio_trace.cli.support.progress import ProgressBar
from virtio_trace.cli.support.say import say, warn
from virtio_trace.errors import BadInputError, CannotTraceError, IncompleteError, VirtioTraceError
from virtio_trace.graph import builder
from virtio_trace.recording import reader
from virtio_trace.render.escape import escape
from virtio_trace.render.table import table
from virtio_trace.render.text import text
from virtio_trace.report.summary import summarize
from virtio_trace.vm import boot
from virtio_trace.vm.qemu import accel as accelerators

_STATUS_CANNOT = 3
_STATUS_INCOMPLETE = 4


@click.command
@click.option("--kernel", "vmlinuz", metavar="VMLINUZ", help="The kernel to boot.")
@click.option("--modules", metavar="DIR", help="Its modules, a lib/modules/RELEASE folder.")
@click.option("--initrd", metavar="FILE", help="Boot VMLINUZ with this initrd, unchanged.")
@click.option("--image", metavar="DISK", help="Boot what this disk image boots; never written.")
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
@click.option(
    "--collector",
    type=click.Choice(boot.COLLECTORS),
    default="auto",
    show_default=True,
    help="An eBPF recorder in the guest, or its trace ring (ftrace), for any kernel and machine.",
)
@click.option(
    "--no-boot-events",
    is_flag=True,
    help="Put nothing on the kernel's command line by which it records what is built in.",
)
@click.option("--run", "task", metavar="CMD", help="Run CMD in the guest, its drivers loaded.")
@click.option(
    "--until",
    metavar="WHEN",
    help="With --image or --initrd: running (default), quiet, quiet:S, or text:TEXT.",
)
@click.option("--keep-console", "console", metavar="FILE", help="Keep what the console said.")
@click.option("-o", "--output", metavar="FILE", help="The recording; - is standard output.")
@click.option("-q", "--quiet", is_flag=True, help="Print no line an event.")
@click.option("-v", "--verbose", is_flag=True, help="Print QEMU's command line.")
@click.argument("options", metavar="[-- QEMU OPTIONS ...]", nargs=-1, type=click.UNPROCESSED)
def command(
    *,
    vmlinuz: str | None,
    modules: str | None,
    initrd: str | None,
    image: str | None,
    package: str | None,
    append: str,
    timeout: float,
    accel: str,
    collector: str,
    no_boot_events: bool,
    task: str | None,
    until: str | None,
    console: str | None,
    output: str | None,
    quiet: bool,
    verbose: bool,
    options: tuple[str, ...],
) -> int:
    """Boot a kernel in QEMU and record it from its first module on.

    The kernel is a VMLINUZ and its modules, or a Debian package, which is fetched and unpacked,
    never installed, of x86-64 or arm64; or a VMLINUZ and somebody else's initrd, or all that a
    disk image boots, which are not changed: then the recording ends when that system is running, or
    as --until says. QEMU OPTIONS replace the default devices: one virtio net, blk and rng; never
    the image.
    """
    settings = boot.Settings(
        append, timeout, accel, task, options, Path(console) if console else None, collector
    )
    source = Source(vmlinuz, modules, package, initrd, image)
    source.check(settings, until)
    boot.check_settings(settings, source.machine())
    target = RecordingOutput(output)
    lines = GuestLines(target, quiet)
    with Interrupts() as interrupts, ProgressBar() as progress, ExitStack() as stack:

        def pause() -> None:
            interrupts.check()
            lines.pause()

        plan = stack.enter_context(source.plan(settings, until, progress))
        try:
            with collecting(plan, boot_events=not no_boot_events) as plan:
                outcome = boot.boot(
                    plan, lines.consume, progress, lambda line: _tell(line, verbose), pause
                )
        finally:
            lines.close()
    trouble = conclude(outcome, plan)
    try:
        status = _report(lines.lines, target) if lines.lines else _STATUS_INCOMPLETE
    except BadInputError:  # its header was cut: the guest's end is the reason, and said below
        if trouble is None:
            raise
    if trouble is not None:
        raise trouble
    if outcome.stop is not None and not outcome.stop.reached:
        return status or _STATUS_INCOMPLETE
    return status


def _tell(line: str, verbose: bool) -> None:
    if verbose or not line.startswith("qemu: "):
        say(line)


def _report(lines: list[bytes], target: RecordingOutput) -> int:
    """The tables and the verdict; on standard error where the recording is on standard output."""
    read = reader.read(lines, target.name)
    if read.trailer is not None and read.trailer.command_status:
        say(f"--run ended with status {read.trailer.command_status}")
    found = builder.build(read)
    result = verdict.check(found)
    with options.result_output() if not target.is_stdout else nullcontext(sys.stderr) as out:
        width, paint = options.width_of(out), options.paint_for(out)
        table(summarize(found), out, width, paint)
        out.write("\n")
        text(result, out, width, paint)
    return STATUS[result.verdict]


def conclude(outcome: boot.Outcome, plan: boot.Plan) -> VirtioTraceError | None:
    """Says how the guest ended; None where its recorder came to its end, else what is wrong."""
    if outcome.end == "done" and outcome.recorder in (0, _STATUS_INCOMPLETE):
        said = f"after {outcome.seconds:.1f} s ({outcome.accel})"
        enough = outcome.stop
        if enough is None:
            say(f"the guest ended {said}")
        elif enough.reached:
            text = plan.third_party.until.text if plan.third_party else ""
            say(f"enough {said}: {escape(f'the console said {text}' if text else enough.why)}")
        else:
            warn(f"the system did not come up {said}: {escape(enough.why)}")
        return None
    if outcome.end == "done":
        return _recorder_failed(outcome)
    for line in outcome.tail:
        click.echo(f"  | {escape(line)}", err=True)
    silent = f"its console said nothing: is {plan.vmlinuz} a whole kernel for this machine?"
    if outcome.end == "timeout":
        above = "its console's last lines are above; --timeout S gives it longer"
        end = "ended" if plan.third_party is None else "come so far as --until says"
        return IncompleteError(
            f"the guest had not {end} after {plan.settings.timeout:g} s",
            above if outcome.tail else silent,
        )
    above = "its console's last lines are above; --keep-console FILE keeps all of them"
    return IncompleteError(
        f"the guest died after {outcome.seconds:.1f} s", above if outcome.tail else silent
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
