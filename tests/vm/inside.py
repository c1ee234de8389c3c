# SPDX-License-Identifier: GPL-2.0-or-later
"""Runs inside a guest, as its --run: ends recorders in every way and reports what they leave.

It is sent with traces.py and inside_recorders.py, and imports only the standard library. The boot's
own recorder, under which this runs, has its own events in tracefs; they must survive everything.
Prints one JSON object: the outcome of each scenario by its name.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from tests.vm.inside_recorders import (
    ASK,
    BLK,
    OUT,
    RECORD,
    after,
    compiling,
    defined,
    forked,
    lines_of,
    outcome,
    own,
    ran,
    recording,
    signalled,
    start,
    write,
)
from tests.vm.traces import OUTER, PATIENCE, TRACEFS, events_of, groups, left, wait_for


def closed_stdout() -> Any:
    shell = ["sh", "-c", 'exec "$@" >&-', "sh", *RECORD, "-q", "-o", "-", "--", "true"]
    return outcome(subprocess.Popen(shell, stderr=subprocess.PIPE))


def reader_gone() -> Any:
    """A pipe whose reader has ended: ``| head -c 1``."""
    recorder = start("-q", "-o", "-", "--", "sh", "-c", f"sleep 1; {ASK}", stdout=subprocess.PIPE)
    assert recorder.stdout is not None
    recorder.stdout.read(1)
    recorder.stdout.close()
    recorder.stdout = None
    return outcome(recorder)


# The kernel opens the event, and the signal arrives before its caller has the descriptor.
_BETWEEN = """
import os, signal
from virtio_trace.tracer.executor import syscalls
open_event, calls = syscalls.perf_open, []

def opened(identity):
    descriptor = open_event(identity)
    calls.append(descriptor)
    if len(calls) == 20:
        os.kill(os.getpid(), signal.SIGTERM)
    return descriptor

syscalls.perf_open = opened
from virtio_trace.__main__ import main
main()
"""


def between() -> Any:
    command = [sys.executable, "-c", _BETWEEN, "record", "-q", "-o", str(OUT)]
    return outcome(subprocess.Popen(command, stderr=subprocess.PIPE))


def two_at_once() -> Any:
    """The first ends while the second records. Each sees what happens while it runs."""
    other = Path("/run/other.vtr")
    first, second = start("-q", "-o", str(OUT)), start("-q", "-o", str(other))
    wait_for(lambda: lines_of(OUT) and lines_of(other))
    both = [own(first), own(second)]
    os.system(ASK)
    wait_for(lambda: len(lines_of(OUT)) > 2)
    first.send_signal(signal.SIGINT)
    first.wait(PATIENCE)
    still = groups()
    kept = events_of(both[1])
    os.system(ASK)
    wait_for(lambda: len(lines_of(other)) > 4)
    second.send_signal(signal.SIGINT)
    ended = outcome(second, other)
    return {
        "groups": len(set(both) - {""}),
        "first_left": both[0] in still,
        "second_stays": both[1] in still and kept > 0,
        "second": ended,
        "first": outcome(first),
    }


def not_root() -> Any:
    return ran("-q", "-o", "/tmp/inner.vtr", path=Path("/tmp/inner.vtr"), user=65534, group=65534)


def orphan(sweeper: Sequence[str]) -> Any:
    """Events of a dead recorder, defined by hand. The next command removes them."""
    dead = subprocess.Popen(["true"])
    dead.wait()
    group = f"virtio_trace_{dead.pid}_1"
    write(TRACEFS / "kprobe_events", f"p:{group}/by_hand bus_register\n")
    before = group in groups()
    done = subprocess.run(
        [sys.executable, "-m", "virtio_trace", *sweeper],
        capture_output=True,
        text=True,
        check=False,
    )
    return {
        "before": before,
        "status": done.returncode,
        "stdout": done.stdout,
        "said": done.stderr.splitlines(),
        "left": left(),
        "group": group,
    }


SCENARIOS: dict[str, Callable[[], Any]] = {
    "kill, recording": lambda: signalled(signal.SIGKILL, recording, 5),
    "kill, arming": lambda: signalled(signal.SIGKILL, defined(20), 5),
    "int, recording": lambda: signalled(signal.SIGINT, recording, 0),
    "term, recording": lambda: signalled(signal.SIGTERM, recording, 0),
    "hup, recording": lambda: signalled(signal.SIGHUP, recording, 0),
    "hup, python starts": lambda: signalled(signal.SIGHUP, after(0.2), 0),
    "hup, imports": lambda: signalled(signal.SIGHUP, after(1.2), 0),
    "hup, forks": lambda: signalled(signal.SIGHUP, forked, 0),
    "hup, compiles": lambda: signalled(
        signal.SIGHUP, compiling, 0, env={**os.environ, "XDG_CACHE_HOME": "/run/empty"}
    ),
    "int, first event defined": lambda: signalled(signal.SIGINT, defined(1), 0),
    "term, half of them defined": lambda: signalled(signal.SIGTERM, defined(30), 0),
    "term, one half attached": between,
    "full": lambda: ran("-q", "-o", "/dev/full", "--", "true", path=Path("/nowhere")),
    "closed stdout": closed_stdout,
    "reader gone": reader_gone,
    "no such command": lambda: ran("-o", str(OUT), "--", "no-such-command"),
    "status of the command": lambda: ran("-q", "-o", str(OUT), "--", "sh", "-c", f"{ASK}; exit 7"),
    "command killed": lambda: ran("-q", "-o", str(OUT), "--", "sh", "-c", "kill -9 $$"),
    "duration": lambda: ran("-q", "--duration", "0.5", "-o", str(OUT)),
    "no such folder": lambda: ran("-o", "/nowhere/x.vtr", path=Path("/nowhere/x.vtr")),
    "two at once": two_at_once,
    "not root": not_root,
    "orphan, record": lambda: orphan(["record", "-q", "-o", str(OUT), "--", "true"]),
    "orphan, doctor": lambda: orphan(["doctor"]),
}


def ask_about(name: str, times: int) -> None:
    """Asks TIMES times. Each is one call: an entry and a return."""
    bind = Path("/sys/bus/virtio/drivers/virtio_net/bind")
    for _ in range(times):
        with contextlib.suppress(OSError):  # it is not virtio_net's
            write(bind, name)


@contextlib.contextmanager
def stopped() -> Iterator[None]:
    """The boot's own recorder reads nothing while the body runs, and catches up around it."""
    wait_for(lambda: waits(OUTER), 5 * PATIENCE)
    os.kill(OUTER, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(OUTER, signal.SIGCONT)
    wait_for(lambda: waits(OUTER), 5 * PATIENCE)


def waits(recorder: int) -> bool:
    """Whether it is idle: it neither computes nor writes, which is slow here."""
    for _ in range(20):
        if "poll" not in Path(f"/proc/{recorder}/wchan").read_text("ascii"):
            return False
        time.sleep(0.05)
    return True


def flood(times: int, rest: int) -> dict[str, Any]:
    """Overruns the ring, then asks REST more times."""
    with stopped():
        ask_about(BLK, times)
    ask_about(BLK, rest)
    return {"asked": times + rest, "thread": os.getpid(), "ended_ns": time.monotonic_ns()}


def swap(times: int, rest: int) -> dict[str, Any]:
    """Overruns the ring; meanwhile devices are bound again, in another order."""
    driver, both = Path("/sys/bus/pci/drivers/virtio-pci"), ("0000:00:03.0", "0000:00:02.0")
    with stopped():
        ask_about(BLK, times)
        for what in ("unbind", "bind"):
            for address in both:
                write(driver / what, address)
        swapped = time.monotonic_ns()
    name = next(Path("/sys/bus/pci/devices/0000:00:03.0").glob("virtio*")).name
    ask_about(name, rest)
    return {"before": BLK, "after": name, "swapped_ns": swapped, "asked": rest}


def main() -> None:
    os.chdir("/tmp")
    found: dict[str, Any] = {}
    for name, scenario in SCENARIOS.items():
        began = time.monotonic()
        try:
            found[name] = scenario()
        except Exception as error:  # the other scenarios must run
            found[name] = {"error": repr(error)}
        found[name]["seconds"] = round(time.monotonic() - began, 1)
    found["outer"] = {"left": left()}
    found["flood"] = flood(5000, 10)
    found["swap"] = swap(5000, 10)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
