# SPDX-License-Identifier: GPL-2.0-or-later
"""Who runs cases: a pool of this machine. dask_workers.py has another one, of many machines."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from types import TracebackType
from typing import Protocol

from virtio_trace.matrix.case import Case, CaseResult
from virtio_trace.matrix.folder import MatrixFolder
from virtio_trace.matrix.job import Job
from virtio_trace.matrix.run import StoppedError, run

Done = tuple[CaseResult, Mapping[str, bytes] | None]
"""A result, and the case's files if they are not in the matrix's folder yet."""


class Workers(Protocol):
    """Runs jobs, several at once."""

    def submit(self, case: Case, job: Job) -> Future[Done]:
        """Runs JOB, of CASE, when there is room for it."""

    def width(self) -> int:
        """How many run at once, at the moment."""

    def why(self, error: BaseException) -> str | None:
        """Why a case was not run, if its future raised ERROR; None: all of them are gone."""

    def stop(self) -> None:
        """Ends what runs, as far as possible, and drops what waits."""


class LocalWorkers:
    """JOBS threads, each of which waits for processes of a case. ``with`` ends them."""

    def __init__(self, folder: MatrixFolder, jobs: int) -> None:
        self._folder = folder
        self._jobs = jobs
        self._pool: Executor = ThreadPoolExecutor(jobs, thread_name_prefix="matrix")
        self._stopped = threading.Event()

    def __enter__(self) -> LocalWorkers:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def submit(self, case: Case, job: Job) -> Future[Done]:
        """Runs JOB in a folder of the matrix."""
        return self._pool.submit(self._run, case, job)

    def width(self) -> int:
        """The number of threads."""
        return self._jobs

    def why(self, error: BaseException) -> str | None:
        """An exception of :func:`run`."""
        return f"{type(error).__name__}: {error}"

    def stop(self) -> None:
        """Ends QEMUs and their guests at once."""
        self._stopped.set()
        self._pool.shutdown(cancel_futures=True)

    def _run(self, case: Case, job: Job) -> Done:
        if self._stopped.is_set():
            raise StoppedError
        return run(job, self._folder.begin(case.name), self._stopped.is_set), None
