# SPDX-License-Identifier: GPL-2.0-or-later
"""Runs inside a guest, as its --run: kills recorders with their watchers, and then sweeps.

It is sent with traces.py and inside_recorders.py, and imports only the standard library. Prints one
JSON object: the outcome of each scenario by its name.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.vm.inside_recorders import OUT, defined, own, recording, start, write
from tests.vm.traces import TRACEFS, events_of, left, wait_for

CONTROL = TRACEFS / "kprobe_events"
DOCTOR = ("doctor",)
RECORD = ("record", "-q", "-o", "/run/after.vtr", "--", "true")
FOREIGN = "vt_test/by_somebody"


def our_command(*arguments: str) -> dict[str, Any]:
    """Runs virtio-trace to its end: what it printed, how long it took, and what is left."""
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "virtio_trace", *arguments],
        capture_output=True,
        text=True,
        check=False,
    )
    return {
        "status": done.returncode,
        "stdout": done.stdout,
        "said": done.stderr.splitlines(),
        "took": round(time.monotonic() - began, 1),
        "left": left(),
        "foreign": f":{FOREIGN} " in CONTROL.read_text("utf-8"),
    }


def killed(when: Callable[[subprocess.Popen[bytes]], Any], *sweeper: str) -> dict[str, Any]:
    """Kills a recorder and its watcher as soon as WHEN is true; runs SWEEPER at once.

    Nobody waits for the recorder before that, so it is a zombie when it is dead.
    """
    recorder = start("-q", "-o", str(OUT))
    there = wait_for(lambda: when(recorder) or recorder.poll() is not None)
    children = Path(f"/proc/{recorder.pid}/task/{recorder.pid}/children").read_text("ascii")
    for pid in (*map(int, children.split()), recorder.pid):
        os.kill(pid, signal.SIGKILL)
    group = own(recorder)
    before = events_of(group)
    found = our_command(*sweeper)
    recorder.communicate()
    OUT.unlink(missing_ok=True)
    return found | {"there": there, "group": group, "before": before}


@contextmanager
def orphan(pid: int) -> Iterator[str]:
    """An event of a recorder that had PID, and whose time of start nobody has now."""
    event = f"virtio_trace_{pid}_1/by_hand"
    write(CONTROL, f"p:{event} bus_register\n")
    try:
        yield event
    finally:
        if events_of(event.partition("/")[0]):
            write(CONTROL, f"-:{event}\n")


def reused() -> dict[str, Any]:
    """The dead recorder's pid is another process's."""
    with orphan(os.getpid()):
        return our_command(*DOCTOR)


def enabled(*sweeper: str) -> dict[str, Any]:
    """Somebody enabled an event in an instance of the ring, and another in the main one."""
    instance = TRACEFS / "instances" / "vt_test"
    instance.mkdir()
    try:
        with orphan(1) as one, orphan(2) as other:
            write(instance / "set_event", one.replace("/", ":"))
            write(TRACEFS / "set_event", other.replace("/", ":"))
            found = our_command(*sweeper)
            write(instance / "set_event", "!" + one.replace("/", ":"))
            write(TRACEFS / "set_event", "!" + other.replace("/", ":"))
        return found | {"events": [one, other]}
    finally:
        instance.rmdir()


# perf_event_open(2) of the tracepoint whose id is given, on CPU 0, until standard input ends.
_HOLD = """
import ctypes, struct, sys
attributes = struct.pack("<IIQ", 2, 112, int(sys.argv[1])) + bytes(96)
buffer = ctypes.create_string_buffer(attributes, 112)
got = ctypes.CDLL(None, use_errno=True).syscall(298, buffer, -1, 0, -1, 8)
print(got, flush=True)
sys.stdin.read()
"""


def held(*sweeper: str) -> dict[str, Any]:
    """Another process has a perf event of it open."""
    with orphan(1) as event, orphan(2):
        number = (TRACEFS / "events" / event / "id").read_text("ascii").strip()
        holder = subprocess.Popen(
            [sys.executable, "-c", _HOLD, number], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert holder.stdout is not None
        opened = int(holder.stdout.readline())
        found = our_command(*sweeper)
        holder.communicate()
        return found | {"opened": opened, "event": event, "holder": holder.pid}


SCENARIOS: dict[str, Callable[[], Any]] = {
    "recording, doctor": lambda: killed(recording, *DOCTOR),
    "arming, doctor": lambda: killed(defined(30), *DOCTOR),
    "recording, record": lambda: killed(recording, *RECORD),
    "reused": reused,
    "enabled, doctor": lambda: enabled(*DOCTOR),
    "held, doctor": lambda: held(*DOCTOR),
    "held, record": lambda: held(*RECORD),
}


def main() -> None:
    os.chdir("/tmp")
    found: dict[str, Any] = {}
    write(CONTROL, f"p:{FOREIGN} bus_register\n")
    for name, scenario in SCENARIOS.items():
        try:
            found[name] = scenario()
        except Exception as error:  # the other scenarios must run
            found[name] = {"error": repr(error)}
    write(CONTROL, f"-:{FOREIGN}\n")
    found["outer"] = {"left": left()}
    print(json.dumps(found))


if __name__ == "__main__":
    main()
