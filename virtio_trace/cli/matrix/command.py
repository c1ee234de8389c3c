# SPDX-License-Identifier: GPL-2.0-or-later
"""virtio-trace matrix: boots kernels with boards of devices, and holds each to what is expected."""

from __future__ import annotations

import re
from contextlib import ExitStack
from pathlib import Path

import click

from virtio_trace.cli.matrix.ending import conclude
from virtio_trace.cli.matrix.progress import MatrixProgress
from virtio_trace.cli.support.help import Command, Example
from virtio_trace.cli.support.interrupts import Interrupts
from virtio_trace.cli.support.progress import ProgressBar
from virtio_trace.cli.support.say import say, warn
from virtio_trace.cli.support.status import StatusLine
from virtio_trace.errors import CannotTraceError, UsageError
from virtio_trace.matrix import campaign, capacity, plan, summary
from virtio_trace.matrix.case import Case
from virtio_trace.matrix.dask_workers import DaskWorkers
from virtio_trace.matrix.folder import MatrixFolder, opened
from virtio_trace.matrix.merge import merge
from virtio_trace.matrix.workers import LocalWorkers
from virtio_trace.vm.host import debian

_MERGE = "merge"
_DEFAULT = "matrix-out"

_EXAMPLES = (
    Example("Run a plan; the overview is ci/index.html", "virtio-trace matrix plan.toml -o ci"),
    Example("Go on after an interruption", "virtio-trace matrix plan.toml -o ci --resume"),
    Example("Run the first of two parts of it", "virtio-trace matrix plan.toml --shard 1/2 -o one"),
    Example("Put two parts together", "virtio-trace matrix merge one two -o ci"),
)


def _part(_context: click.Context, _option: click.Parameter, value: str) -> tuple[int, int]:
    found = re.fullmatch(r"([0-9]{1,6})/([0-9]{1,6})", value)
    part = (int(found[1]), int(found[2])) if found else (0, 0)
    if not 1 <= part[0] <= part[1]:
        raise click.BadParameter(f"{value!r} is not I/N, with I from 1 to N")
    return part


@click.command(cls=Command, examples=_EXAMPLES)
@click.option("-o", "--output", metavar="DIR", help=f"Keep results in DIR. [default: {_DEFAULT}]")
@click.option(
    "--jobs",
    type=click.IntRange(min=1),
    metavar="N",
    help="Guests at once. [default: as many as processors and memory carry]",
)
@click.option("--resume", is_flag=True, help="Run what is not in DIR, had an error or has changed.")
@click.option(
    "--shard",
    default="1/1",
    callback=_part,
    metavar="I/N",
    help="Run the I-th of N parts of the plan.",
)
@click.option(
    "--retries",
    type=click.IntRange(0, 10),
    default=2,
    show_default=True,
    metavar="N",
    help="Start a guest again that died under software emulation.",
)
@click.option("--scheduler", metavar="ADDRESS", help="Run on the workers of a Dask scheduler.")
@click.option("--allow", multiple=True, metavar="DIR", help="Let the plan name files in DIR, too.")
@click.option("--trust", is_flag=True, help="Let the plan give QEMU options of its own.")
@click.option("-q", "--quiet", is_flag=True, help="Print no line for a case that is ok.")
@click.argument("plan_file", metavar="PLAN")
@click.argument("folders", metavar="[DIR ...]", nargs=-1)
def command(
    *,
    output: str | None,
    jobs: int | None,
    resume: bool,
    shard: tuple[int, int],
    retries: int,
    scheduler: str | None,
    allow: tuple[str, ...],
    trust: bool,
    quiet: bool,
    plan_file: str,
    folders: tuple[str, ...],
) -> int:
    """Boot kernels with boards of devices, as a plan says.

    PLAN is a TOML file, which docs/matrix.md describes. Each boot is held to what PLAN expects of
    it. DIR gets a folder for each case with its recording, console and report, and junit.xml,
    matrix.json and the overview index.html. If matrix is interrupted, --resume goes on. Give merge
    in place of PLAN, and the DIRs of shards, to put these together.

    The exit status is 0 if every case is as expected, 1 if one is not; else 4 if one could not be
    told, or is missing.
    """
    target = Path(output or _DEFAULT)
    if plan_file == _MERGE:
        return _merge([Path(folder) for folder in folders], target)
    if folders:
        raise UsageError(f"{folders[0]}: only merge takes folders", "name DIR with -o DIR")
    if scheduler is not None and jobs is not None:
        raise UsageError("--jobs does not go with --scheduler", "its workers have threads")
    read = plan.read(Path(plan_file), allow=[Path(one) for one in allow], trust=trust)
    cases = campaign.shard(read.cases, shard)
    with ExitStack() as stack:
        interrupts = stack.enter_context(Interrupts())
        cluster = None if scheduler is None else stack.enter_context(_cluster(scheduler, cases))
        folder = stack.enter_context(opened(target))
        if folder.is_used and not resume:
            raise UsageError(
                f"{target} has a matrix", "add --resume to go on, or name another folder with -o"
            )
        done = campaign.kept(folder, cases) if resume and folder.is_used else {}
        left = [case for case in cases if case.name not in done]
        if cluster is None and left:
            _fetch(left)
        folder.sweep()
        folder.write_plan(campaign.plan_json(read, shard))
        if done:
            say(f"{len(done)} of {len(cases)} cases are done; {len(left)} to run")
        try:
            _run(
                *(left, folder, cluster),
                jobs=jobs,
                retries=retries,
                quiet=quiet,
                interrupts=interrupts,
            )
        finally:
            names = [case.name for case in cases]
            found = summary.collect(folder, names)
            result = summary.summarize(folder.plan(), found, names)
            conclude(result, folder)
    return result.exit_status


def _cluster(address: str, cases: list[Case]) -> DaskWorkers:
    workers = DaskWorkers(address)
    if any(case.settings.accel == "kvm" for case in cases) and not workers.has_kvm():
        warn("no worker offers KVM: cases with accel = kvm wait for one")
    return workers


def _run(
    cases: list[Case],
    folder: MatrixFolder,
    cluster: DaskWorkers | None,
    *,
    jobs: int | None,
    retries: int,
    quiet: bool,
    interrupts: Interrupts,
) -> None:
    """Runs CASES on CLUSTER, or JOBS at once on this machine."""
    if not cases:
        return
    progress = MatrixProgress(len(cases), quiet)

    def pause(width: int) -> None:
        interrupts.check()
        progress.show(width)

    with StatusLine(), ExitStack() as stack:
        workers: DaskWorkers | LocalWorkers
        if cluster is None:
            number = min(jobs or capacity.jobs(), len(cases))
            workers = stack.enter_context(LocalWorkers(folder, number))
        else:
            workers = cluster
        campaign.run_cases(
            *(cases, workers, folder),
            retries=retries,
            on_result=progress.result,
            on_pause=pause,
        )


def _fetch(cases: list[Case]) -> None:
    """Every package once, before several guests wait for it. Raises UsageError for a package that
    does not exist; with other errors the cases themselves end."""
    packages = dict.fromkeys(c.source.debian for c in cases if c.source.debian is not None)
    with ProgressBar() as progress:
        for package in packages:
            try:
                debian.fetch(package, progress)
            except CannotTraceError as error:
                warn(f"{package}: {error}")


def _merge(folders: list[Path], target: Path) -> int:
    if not folders:
        raise UsageError("merge what?", "virtio-trace matrix merge DIR ... -o DIR")
    with opened(target) as folder:
        if folder.is_used:
            raise UsageError(f"{target} has a matrix", "name another folder with -o")
        results = merge([MatrixFolder(path) for path in folders], folder)
        whole = folder.plan()
        result = summary.summarize(whole, results, whole["cases"])
        conclude(result, folder)
    return result.exit_status
