# SPDX-License-Identifier: GPL-2.0-or-later
"""Starts recorders inside a guest, ends them at a chosen moment, and reports the results.

Sent into the guest with inside.py, so it imports only the standard library.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.vm.traces import PATIENCE, events_of, groups, left, wait_for

RECORD = (sys.executable, "-m", "virtio_trace", "record")
OUT = Path("/run/inner.vtr")

BLK = next(Path("/sys/bus/pci/devices/0000:00:03.0").glob("virtio*")).name
# Asks the bus to bind the disk to virtio_net: one call of virtio_dev_match, which returns 0.
ASK = f"echo {BLK} 2>/dev/null >/sys/bus/virtio/drivers/virtio_net/bind"


def write(path: Path, text: str) -> None:
    """One write(2), which appends: Python's files seek, and retry what was refused."""
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND)
    try:
        os.write(descriptor, text.encode())
    finally:
        os.close(descriptor)


def lines_of(path: Path) -> list[str]:
    return path.read_text("utf-8").splitlines() if path.exists() else []


def summary(path: Path) -> dict[str, Any]:
    """A summary of a recording, read without our reader; and the exit status of ``report``."""
    lines = lines_of(path)
    if not lines:
        return {"lines": 0}
    last = json.loads(lines[-1])
    trailer = last if last.get("kind") == "trailer" else None
    report = subprocess.run(
        [sys.executable, "-m", "virtio_trace", "report", "--format", "json", str(path)],
        capture_output=True,
        check=False,
    )
    matches = sum(json.loads(line).get("probe") == "virtio_dev_match" for line in lines)
    return {
        "lines": len(lines),
        "matches": matches,
        "ended": trailer and trailer["ended"],
        "command_status": trailer and trailer["command_status"],
        "not_armed": trailer and [p for p in trailer["probes"] if p["state"] == "not armed"],
        "report": report.returncode,
    }


def start(*arguments: str, **options: Any) -> subprocess.Popen[bytes]:
    """Starts a recorder. Its standard error is kept for outcome()."""
    return subprocess.Popen(
        [*RECORD, *arguments],
        **{"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, **options},
    )


def outcome(recorder: subprocess.Popen[bytes], path: Path = OUT, patience: float = 0) -> Any:
    """How RECORDER ended, what it printed, what it left behind and what it recorded."""
    try:
        _, said = recorder.communicate(timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        recorder.kill()
        raise
    found = {
        "status": recorder.returncode,
        "said": (said or b"").decode(errors="replace").splitlines(),
        "left": left(patience),
        "recording": summary(path),
    }
    path.unlink(missing_ok=True)
    return found


def signalled(
    number: int, when: Callable[[subprocess.Popen[bytes]], Any], patience: float, **options: Any
) -> Any:
    """Sends signal NUMBER to a recorder, started with OPTIONS, as soon as WHEN is true."""
    recorder = start("-q", "-o", str(OUT), **options)
    there = wait_for(lambda: when(recorder) or recorder.poll() is not None)
    if when is recording:
        os.system(ASK)
        wait_for(lambda: len(lines_of(OUT)) > 2)
    recorder.send_signal(number)
    return outcome(recorder, patience=patience) | {"there": there}


def recording(_recorder: subprocess.Popen[bytes]) -> bool:
    """Armed, and its header written."""
    return len(lines_of(OUT)) >= 1


def own(recorder: subprocess.Popen[bytes]) -> str:
    """The recorder's group in tracefs, once it has one."""
    return next((g for g in groups() if g.startswith(f"virtio_trace_{recorder.pid}_")), "")


def defined(count: int) -> Callable[[subprocess.Popen[bytes]], bool]:
    """At least COUNT of its events are in tracefs."""
    return lambda recorder: bool(own(recorder)) and events_of(own(recorder)) >= count


def forked(recorder: subprocess.Popen[bytes]) -> bool:
    """Whether it has its child, which cleans up if it is killed."""
    return bool(Path(f"/proc/{recorder.pid}/task/{recorder.pid}/children").read_text("ascii"))


def after(seconds: float) -> Callable[[subprocess.Popen[bytes]], bool]:
    """SECONDS after this call."""
    deadline = time.monotonic() + seconds
    return lambda _recorder: time.monotonic() > deadline


def compiling(recorder: subprocess.Popen[bytes]) -> bool:
    """A second after its fork: with an empty cache, reading the kernel's files and compiling the
    program, which are next, take several."""
    if not forked(recorder):
        return False
    time.sleep(1)
    return True


def ran(*arguments: str, path: Path = OUT, **options: Any) -> Any:
    return outcome(start(*arguments, **options), path)
