# SPDX-License-Identifier: GPL-2.0-or-later
"""Runs the cases of a plan that are not done yet, and keeps each as it comes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait

import virtio_trace
from virtio_trace.errors import CannotTraceError, IncompleteError
from virtio_trace.matrix.case import ERROR, Attempt, Case, CaseResult
from virtio_trace.matrix.folder import MatrixFolder
from virtio_trace.matrix.job import job
from virtio_trace.matrix.plan import Plan
from virtio_trace.matrix.workers import Done, Workers

_WAIT_SECONDS = 0.5
_AHEAD = 4
"""Cases that are handed to the workers, for each that runs: results wait in memory until they are
kept, and a plan may have many."""


def shard(cases: Sequence[Case], part: tuple[int, int]) -> list[Case]:
    """Every N-th of CASES from the I-th on, for PART (I, N). The shards of a plan are disjoint, and
    together they are the plan."""
    first, of = part
    return list(cases[first - 1 :: of])


def plan_json(plan: Plan, part: tuple[int, int]) -> dict[str, object]:
    """PLAN as plan.json has it: enough to tell which cases are missing."""
    return {
        "name": plan.name,
        "version": virtio_trace.__version__,
        "shard": list(part),
        "kernels": list(plan.kernels),
        "boards": list(plan.boards),
        "cases": {case.name: case.fingerprint for case in plan.cases},
    }


def kept(folder: MatrixFolder, cases: Sequence[Case]) -> dict[str, CaseResult]:
    """Results in FOLDER that hold for CASES: of the same kernel, settings and expectation, and no
    errors. Raises BadInputError."""
    found = {}
    for case in cases:
        result = folder.result(case.name)
        if (
            result is not None
            and result.status != ERROR
            and result.fingerprint == case.fingerprint
            and result.stamps == case.stamps()
        ):
            found[case.name] = result
    return found


def run_cases(
    cases: Sequence[Case],
    workers: Workers,
    folder: MatrixFolder,
    *,
    retries: int,
    on_result: Callable[[CaseResult], None],
    on_pause: Callable[[int], None],
) -> None:
    """Runs CASES. ON_RESULT gets each result once it is in FOLDER; ON_PAUSE is called twice a
    second, with the number of cases that may run at once. An exception of either propagates.

    Raises CannotTraceError if all workers are gone, IncompleteError if FOLDER cannot be written.
    """
    left = list(reversed(cases))
    running: dict[Future[Done], Case] = {}
    while left or running:
        width = workers.width()
        while left and len(running) < width * _AHEAD:
            case = left.pop()
            made = job(case, retries=retries, version=virtio_trace.__version__)
            running[workers.submit(case, made)] = case
        done, _ = wait(running, timeout=_WAIT_SECONDS, return_when=FIRST_COMPLETED)
        for future in done:
            case = running.pop(future)
            on_result(_keep(case, future, workers, folder))
        on_pause(width)


def _keep(case: Case, future: Future[Done], workers: Workers, folder: MatrixFolder) -> CaseResult:
    error = future.exception() if not future.cancelled() else None
    if error is None and not future.cancelled():
        result, files = future.result()
    else:
        why = workers.why(error) if error is not None else None
        if why is None:
            raise CannotTraceError(
                "the scheduler is gone, and with it the cases that it had",
                "start it again, and this command with --resume",
            )
        attempt = Attempt("none", 3, 0.0, why=why)
        result, files = CaseResult(case.name, ERROR, [why], None, [attempt]), {}
    result.name = case.name
    result.fingerprint, result.stamps = case.fingerprint, case.stamps()
    try:
        folder.finish(result, files)
    except OSError as failed:
        raise IncompleteError(
            f"{folder.path}: cannot write: {failed.strerror}",
            "make room, and continue with --resume",
        ) from failed
    return result
