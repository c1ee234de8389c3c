# SPDX-License-Identifier: GPL-2.0-or-later
"""virtio-trace boot: boots a kernel in QEMU and records it from its first module on."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import ExitStack, nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path

import click

from virtio_trace.check import verdict
from virtio_trace.check.findings import Result
from virtio_trace.cli.boot.artifacts import Artifacts
from virtio_trace.cli.boot.collectors import collecting
from virtio_trace.cli.boot.ending import STATUS_INCOMPLETE, conclude
from virtio_trace.cli.boot.guest_lines import GuestLines
from virtio_trace.cli.boot.source import Source
from virtio_trace.cli.support import expected, results, terminal
from virtio_trace.cli.support import options as shared
from virtio_trace.cli.support.asked import STATUS, Expect
from virtio_trace.cli.support.help import Command, Example
from virtio_trace.cli.support.interrupts import Interrupts
from virtio_trace.cli.support.output import RecordingOutput
from virtio_trace.cli.support.progress import ProgressBar
from virtio_trace.cli.support.say import say
from virtio_trace.errors import BadInputError, UsageError
from virtio_trace.graph import builder
from virtio_trace.recording import reader
from virtio_trace.recording.reader import Recording
from virtio_trace.render.table import table
from virtio_trace.render.text import text
from virtio_trace.report.summary import summarize
from virtio_trace.vm.boot import Listener, boot
from virtio_trace.vm.plan import COLLECTORS, Settings, check_settings
from virtio_trace.vm.qemu import accel as accelerators

_EXAMPLES = (
    Example(
        "Boot Debian 12's kernel with virtio net, blk and rng",
        "virtio-trace boot --debian linux-image-cloud-amd64/bookworm",
    ),
    Example(
        "Boot your kernel with other devices",
        "virtio-trace boot --kernel bzImage --modules DIR -- -device virtio-rng-pci",
    ),
    Example("Keep everything of a CI job", "virtio-trace boot --artifacts out --image disk.qcow2"),
    Example("Boot a disk image, which is not changed", "virtio-trace boot --image disk.qcow2"),
)


@click.command(cls=Command, examples=_EXAMPLES)
@click.option(
    "--kernel", "vmlinuz", metavar="VMLINUZ", help="The kernel to boot, or a unified kernel image."
)
@click.option("--modules", metavar="DIR", help="Its modules, a lib/modules/RELEASE folder.")
@click.option("--initrd", metavar="FILE", help="Boot with this initrd, unchanged.")
@click.option("--image", metavar="DISK", help="Boot what this disk image boots; never written to.")
@click.option(
    "--backing",
    multiple=True,
    metavar="DIR",
    help="Let DISK read backing and data files in DIR, not only in its own folder.",
)
@click.option("--debian", "package", metavar="PACKAGE", help="A Debian kernel: NAME or NAME/SUITE.")
@click.option("--append", default="", metavar="STR", help="Add STR to the kernel's command line.")
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
    type=click.Choice(COLLECTORS),
    default="auto",
    show_default=True,
    help="bpf: an eBPF recorder in the guest. ftrace: its trace ring, on any kernel and machine.",
)
@click.option(
    "--no-boot-events",
    is_flag=True,
    help="Do not make the kernel record what is built in (by its command line).",
)
@click.option("--run", "task", metavar="CMD", help="Run CMD in the guest, after loading drivers.")
@click.option(
    "--until",
    metavar="WHEN",
    help="When to end with --image or --initrd: running (default), quiet, quiet:S, text:TEXT.",
)
@expected.board_options
@click.option("--keep-console", "console", metavar="FILE", help="Write the console to FILE.")
@click.option("-o", "--output", metavar="FILE", help="The recording; - is standard output.")
@click.option(
    "--artifacts",
    "folder",
    metavar="DIR",
    help="Write the recording, its reports, the console and a test report to DIR.",
)
@click.option("--root", metavar="CPIO", hidden=True, help="A root in place of busybox (tests).")
@click.option("-q", "--quiet", is_flag=True, help="Do not print events as they happen.")
@click.option("-v", "--verbose", is_flag=True, help="Print all events, and QEMU's command line.")
@click.argument("options", metavar="[-- QEMU OPTIONS ...]", nargs=-1, type=click.UNPROCESSED)
@shared.with_machines
def command(
    *,
    vmlinuz: str | None,
    modules: str | None,
    initrd: str | None,
    image: str | None,
    backing: tuple[str, ...],
    package: str | None,
    append: str,
    timeout: float,
    accel: str,
    collector: str,
    no_boot_events: bool,
    task: str | None,
    until: str | None,
    board: str | None,
    strict: bool,
    console: str | None,
    output: str | None,
    folder: str | None,
    root: str | None,
    quiet: bool,
    verbose: bool,
    options: tuple[str, ...],
) -> int:
    """Boot a kernel in QEMU and record it from its first module on.

    The kernel is for {machines}. Give a VMLINUZ with its modules, or a Debian package, which
    is fetched and unpacked, not installed. Or boot a third-party system: a VMLINUZ with its initrd,
    a unified kernel image, or a disk image. These are not changed, and the recording ends when the
    system is running, or as --until says. With --image, --kernel, --initrd and --modules replace
    what is in the image. QEMU OPTIONS replace the default devices, one virtio net, blk and rng, but
    not the image.

    Events that do not concern VirtIO (loads of other modules, their init functions, and matches
    that said no) are only counted on standard error; -v prints them. The recording has all.

    With --artifacts, DIR gets recording.vtr, console.txt, junit.xml, verdict.txt, check.json,
    summary.md, report.json, report.html, graph.svg and outcome.json. If the guest fails, it gets
    what there is.
    """
    if folder is not None and (output is not None or console is not None):
        raise UsageError(
            "--artifacts does not go with -o or --keep-console",
            "DIR has the recording as recording.vtr, and the console as console.txt",
        )
    settings = Settings(
        append,
        timeout,
        accel,
        task,
        options,
        Path(console) if console else None,
        collector,
        Path(root) if root else None,
    )
    expect = expected.expected(board, strict).apply
    source = Source(vmlinuz, modules, package, initrd, image, backing)
    source.check(settings, until)
    check_settings(settings, source.machine())
    if folder is None:
        target = RecordingOutput(output)
        lines = GuestLines(target, quiet, verbose)
        return _run(source, settings, until, lines, expect, boot_events=not no_boot_events)
    with Artifacts(folder) as artifacts:
        settings = replace(settings, console=Path(artifacts.console))
        target = RecordingOutput(artifacts.recording)
        lines = GuestLines(target, quiet, verbose)
        own = not no_boot_events
        return _run(source, settings, until, lines, expect, boot_events=own, artifacts=artifacts)


def _run(
    source: Source,
    settings: Settings,
    until: str | None,
    lines: GuestLines,
    expect: Expect,
    *,
    boot_events: bool,
    artifacts: Artifacts | None = None,
) -> int:
    """Boot SOURCE, and report what LINES took. Returns the exit status."""
    with Interrupts() as interrupts, ProgressBar() as progress, ExitStack() as stack:

        def pause() -> None:
            interrupts.check()
            lines.pause()

        def consume(line: bytes) -> None:
            lines.consume(line)
            progress.stage("recording the guest", f"{lines.events} events")

        def tell(line: str) -> None:
            if line.startswith("qemu: "):
                progress.stage("waiting for the guest")
            if lines.everything or not line.startswith("qemu: "):
                say(line)

        progress.stage("looking for the kernel")
        plan = stack.enter_context(source.plan(settings, until, progress))
        try:
            progress.stage("reading the kernel's files")
            with collecting(plan, boot_events=boot_events) as plan:
                progress.stage("building the guest's root")
                ended = boot(plan, Listener(consume, tell, pause), progress)
                progress.stage("")
        finally:
            lines.close()
    if artifacts is not None:
        artifacts.write_outcome(ended)
    trouble = conclude(ended, plan)
    stopped = ended.stop is not None and not ended.stop.reached
    broken = str(trouble) if trouble is not None else "the system did not come up"
    keep = (
        partial(artifacts.write, broken=broken if trouble or stopped else None)
        if artifacts
        else None
    )
    try:
        status = _report(lines, expect, keep) if lines.lines else STATUS_INCOMPLETE
    except BadInputError:  # a cut header: the error below says how the guest ended
        if trouble is None:
            raise
    if trouble is not None:
        raise trouble
    return (status or STATUS_INCOMPLETE) if stopped else status


def _report(
    lines: GuestLines, expect: Expect, keep: Callable[[Recording, Result], None] | None
) -> int:
    """Prints the tables and the verdict; on standard error if standard output is taken. KEEP gets
    the recording and the result."""
    target = lines.target
    read = reader.read(lines.lines, target.name)
    if read.trailer is not None and read.trailer.command_status:
        say(f"--run ended with status {read.trailer.command_status}")
    found = builder.build(read)
    result = verdict.check(found)
    expect(read, result)
    with results.result_output() if not target.is_stdout else nullcontext(sys.stderr) as out:
        width, paint = terminal.width_of(out), terminal.paint_for(out)
        tables = partial(table, summarize(found), out, width, paint, problems=False)
        text(result, out, width, paint, tables=tables)
    if keep is not None:
        keep(read, result)
    return STATUS[result.verdict]
