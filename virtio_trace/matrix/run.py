# SPDX-License-Identifier: GPL-2.0-or-later
"""Runs a job: ``boot --artifacts`` in a folder that keeps all of it, again if the guest died."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import virtio_trace
from virtio_trace.errors import CannotTraceError
from virtio_trace.matrix import job as files
from virtio_trace.matrix.case import Attempt, CaseResult
from virtio_trace.matrix.job import Job
from virtio_trace.matrix.judge import judge
from virtio_trace.vm.host.children import Child
from virtio_trace.vm.host.programs import find

_FETCH_SECONDS = 1800.0
"""What boot may take beside its guest: a kernel may have to be fetched, or another process fills
the cache."""
_POLL_SECONDS = 0.1
_LARGEST = 256 << 20
"""Bytes of a file that is sent from one machine to another."""

Stopped = Callable[[], bool]


class StoppedError(Exception):
    """The matrix is ended, and this case with it."""


def run(job: Job, folder: Path, stopped: Stopped = lambda: False) -> CaseResult:
    """Runs JOB in FOLDER, which is empty. ``attempt-N`` keeps what an attempt before the last one
    left. Raises StoppedError once STOPPED returns True, OSError."""
    attempts: list[Attempt] = []
    while True:
        place = folder / f"attempt-{len(attempts) + 1}"
        place.mkdir()
        attempts.append(_boot(job, place, stopped))
        if not _is_emulation(attempts[-1]) or len(attempts) > job.retries:
            break
    for path in sorted(place.iterdir()):
        path.replace(folder / path.name)
    place.rmdir()
    check = _json(folder / files.CHECK)
    status, why = judge(job.expect, attempts[-1], check, _command_status(folder))
    result = CaseResult(
        job.name,
        status,
        why,
        check and check["verdict"],
        attempts,
        worker=f"{platform.node()}:{os.getpid()}",
    )
    _describe(folder, result)
    return result


def run_remotely(job: Job) -> tuple[dict[str, Any], dict[str, bytes]]:
    """The same on another machine: the result as JSON, and its files by their names.

    Raises CannotTraceError if this is another version of virtio-trace.
    """
    if job.version != virtio_trace.__version__:
        raise CannotTraceError(
            f"worker {_name()} has virtio-trace {virtio_trace.__version__}, "
            f"the matrix is of {job.version}",
            "install the same version everywhere",
        )
    with tempfile.TemporaryDirectory(prefix="vt-matrix-") as name:
        folder = Path(name)
        result = run(job, folder)
        found = {}
        for path in sorted(folder.rglob("*")):
            if path.is_file() and not path.is_symlink():
                if path.stat().st_size > _LARGEST:
                    result.why.append(f"{path.name} has more than {_LARGEST >> 20} MiB: not kept")
                else:
                    found[str(path.relative_to(folder))] = path.read_bytes()
    return result.to_json(), found


def _name() -> str:
    return f"{platform.node()}:{os.getpid()}"


def _is_emulation(attempt: Attempt) -> bool:
    """Whether a guest may have died of its emulator's faults: QEMU's TCG has some that crash a
    kernel at random. A processor of its own has none."""
    return attempt.end == "died" and attempt.accel == "tcg"


def _boot(job: Job, place: Path, stopped: Stopped) -> Attempt:
    if job.expect.board is not None:
        (place / files.BOARD).write_text(job.expect.board, "utf-8")
    began = time.monotonic()
    status = _ours(
        *(job.boot, place),
        out=files.TABLES,
        err=files.LOG,
        seconds=job.seconds + _FETCH_SECONDS,
        stopped=stopped,
    )
    outcome = _json(place / files.OUTCOME) or {}
    return Attempt(
        end=str(outcome.get("end", "none")),
        status=status,
        seconds=round(time.monotonic() - began, 3),
        accel=str(outcome.get("accel", "")),
        why=_last_words(place / files.LOG),
        stood=outcome.get("reached") is False,
    )


def _describe(folder: Path, result: CaseResult) -> None:
    """What the recording says of its kernel and its devices."""
    report = _json(folder / files.REPORT_JSON)
    if report is not None:
        result.kernel_release = report["kernel"]["release"]
        result.devices = len(report["devices"])


def _ours(
    arguments: tuple[str, ...],
    folder: Path,
    *,
    out: str,
    err: str,
    seconds: float,
    stopped: Stopped,
) -> int:
    """Runs our command in FOLDER, its output in the files OUT and ERR. Returns its exit status.

    It ends with us: the kernel sends it SIGTERM, and it then ends its QEMU.
    """
    package = Path(virtio_trace.__file__).parents[1]
    command = [
        *(find("setpriv"), "--pdeathsig", "TERM", "--"),
        *(sys.executable, "-P", "-m", "virtio_trace", *arguments),
    ]
    path = os.pathsep.join(filter(None, [str(package), os.environ.get("PYTHONPATH")]))
    environment = {**os.environ, "PYTHONPATH": path, "COLUMNS": "100"}
    deadline = time.monotonic() + seconds
    with (
        (folder / out).open("wb") as stdout,
        (folder / err).open("wb") as stderr,
        Child(command, cwd=folder, env=environment, stdout=stdout, stderr=stderr) as child,
    ):
        while child.poll() is None:
            if stopped():
                raise StoppedError
            if time.monotonic() > deadline:
                stderr.write(f"virtio-trace: it had not ended after {seconds:g} s\n".encode())
                child.end()
                return 4
            time.sleep(_POLL_SECONDS)
    return child.returncode


def _last_words(log: Path) -> str:
    """The last message of our command in the file LOG, with its hint."""
    words = ""
    with contextlib.suppress(OSError):
        for line in log.read_text("utf-8", "replace").splitlines():
            if line.startswith("virtio-trace: "):
                words = line.removeprefix("virtio-trace: ")
    return words


def _command_status(folder: Path) -> int | None:
    """What ``run`` ended with, by the recording's trailer."""
    try:
        with (folder / files.RECORDING).open("rb") as file:
            file.seek(max(file.seek(0, os.SEEK_END) - (16 << 20), 0))
            status = json.loads(file.read().splitlines()[-1]).get("command_status")
    except (OSError, ValueError, IndexError, AttributeError):
        return None
    return status if isinstance(status, int) else None


def _json(path: Path) -> Any:
    """The JSON object in the file PATH; None if there is none."""
    try:
        found = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None
