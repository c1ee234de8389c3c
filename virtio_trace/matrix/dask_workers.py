# SPDX-License-Identifier: GPL-2.0-or-later
"""Cases on the workers of a Dask cluster. The only file that imports dask's distributed.

A worker is told a case as arguments and sends its files back; it needs virtio-trace, QEMU and what
the plan names. If a worker dies, the scheduler gives its cases to others. A case of which several
workers died (``distributed.scheduler.allowed-failures``) is given up, as it may be the reason.

Cases with ``accel = "kvm"`` go to workers that were started with ``--resources KVM=N``, and no more
than N at once.
"""

from __future__ import annotations

from concurrent.futures import CancelledError, Executor, Future
from types import TracebackType
from typing import Any

from virtio_trace.errors import CannotTraceError, UsageError
from virtio_trace.matrix.case import Case, CaseResult
from virtio_trace.matrix.job import Job
from virtio_trace.matrix.run import run_remotely
from virtio_trace.matrix.workers import Done

_RESOURCE = "KVM"
_CONNECT_SECONDS = 10


class DaskWorkers:
    """The workers of the scheduler at ADDRESS (HOST:PORT, tcp://, tls://). ``with`` lets go of it.

    Raises CannotTraceError if Dask is not installed, or the scheduler cannot be reached; UsageError
    if ADDRESS is no address.
    """

    def __init__(self, address: str) -> None:
        try:
            import distributed  # noqa: PLC0415 an extra
        except ImportError as error:
            raise CannotTraceError(
                f"--scheduler needs Dask, which cannot be imported: {error}",
                "apt install python3-distributed, or pip install distributed",
            ) from error
        self._killed: type[Exception] = distributed.scheduler.KilledWorker
        try:
            self._client: Any = distributed.Client(
                address, timeout=_CONNECT_SECONDS, set_as_default=False, name="virtio-trace"
            )
        except ValueError as error:
            raise UsageError(f"--scheduler {address}: {error}", "such as host:8786") from error
        except (TimeoutError, OSError) as error:
            raise CannotTraceError(
                f"the scheduler at {address} cannot be reached: {error}",
                "is dask scheduler running there?",
            ) from error
        # pure: Dask would run equal jobs, such as boots of one kernel, once.
        self._plain: Executor = self._client.get_executor(pure=False)
        self._kvm: Executor = self._client.get_executor(pure=False, resources={_RESOURCE: 1})

    def __enter__(self) -> DaskWorkers:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def submit(self, case: Case, job: Job) -> Future[Done]:
        """Gives JOB to the scheduler."""
        executor = self._kvm if case.settings.accel == "kvm" else self._plain
        done: Future[Done] = Future()

        def pass_on(future: Future[Any]) -> None:
            if not done.set_running_or_notify_cancel():
                return
            try:
                raw, files = future.result()
                done.set_result((CaseResult.from_json(raw), files))
            except (Exception, CancelledError) as error:
                done.set_exception(error)

        executor.submit(run_remotely, job).add_done_callback(pass_on)
        return done

    def width(self) -> int:
        """The threads of all workers that are there."""
        threads: list[int] = list(self._client.nthreads().values())
        return max(sum(threads), 1)

    def has_kvm(self) -> bool:
        """Whether a worker offers KVM."""
        workers = self._client.scheduler_info(n_workers=-1)["workers"].values()
        return any(worker.get("resources", {}).get(_RESOURCE) for worker in workers)

    def why(self, error: BaseException) -> str | None:
        """None if the scheduler is gone."""
        if isinstance(error, CancelledError):
            return None
        if isinstance(error, self._killed):
            return "its workers died, one after the other; see their logs"
        return f"{type(error).__name__}: {error}"

    def stop(self) -> None:
        """Cancels what waits. What runs ends by itself."""
        self._client.close()
