# SPDX-License-Identifier: GPL-2.0-or-later
"""Runs inside a guest, as the text of its --run: ends recorders in every way and looks what stays.

It is sent as it stands, with traces.py, and imports the standard library alone. The recorder of the
boot itself, under which this runs, has events of its own in tracefs; they must survive all of it.
Prints one JSON object, an outcome by the scenario's name.
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

from tests.vm.traces import (
    OUTER_GROUPS,
    PATIENCE,
    TRACEFS,
    events_of,
    groups,
    left,
    wait_for,
)

RECORD = (sys.executable, "-m", "virtio_trace", "record")
OUT = Path("/run/inner.vtr")

BLK = next(Path("/sys/bus/pci/devices/0000:00:03.0").glob("virtio*")).name
# Asks the bus whether virtio_net takes the disk: one call of virtio_dev_match, which says no.
ASK = f"echo {BLK} 2>/dev/null >/sys/bus/virtio/drivers/virtio_net/bind"


def write(path: Path, text: str) -> None:
    """One write(2), for appending: Python's own files seek, and try again what was refused."""
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND)
    try:
        os.write(descriptor, text.encode())
    finally:
        os.close(descriptor)


def lines_of(path: Path) -> list[str]:
    return path.read_text("utf-8").splitlines() if path.exists() else []


def summary(path: Path) -> dict[str, Any]:
    """A recording in a few words, read without our reader; and what ``report`` makes of it."""
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
    """A recorder, its standard error kept for outcome()."""
    return subprocess.Popen(
        [*RECORD, *arguments],
        **{"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, **options},
    )


def outcome(recorder: subprocess.Popen[bytes], path: Path = OUT, patience: float = 0) -> Any:
    """How RECORDER ended, what it said, what it left behind and what it had recorded."""
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


def signalled(number: int, when: Callable[[subprocess.Popen[bytes]], Any], patience: float) -> Any:
    """The recorder gets signal NUMBER as soon as WHEN is true."""
    recorder = start("-q", "-o", str(OUT))
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
    """It has a child: the one that stands by to clean up."""
    return bool(Path(f"/proc/{recorder.pid}/task/{recorder.pid}/children").read_text("ascii"))


def after(seconds: float) -> Callable[[subprocess.Popen[bytes]], bool]:
    """SECONDS after this call."""
    deadline = time.monotonic() + seconds
    return lambda _recorder: time.monotonic() > deadline


def compiling(recorder: subprocess.Popen[bytes]) -> bool:
    """A second after its fork: what comes next, the program's compilation, takes several."""
    if not forked(recorder):
        return False
    time.sleep(1)
    return True


def ran(*arguments: str, path: Path = OUT, **options: Any) -> Any:
    return outcome(start(*arguments, **options), path)


def closed_stdout() -> Any:
    shell = ["sh", "-c", 'exec "$@" >&-', "sh", *RECORD, "-q", "-o", "-", "--", "true"]
    return outcome(subprocess.Popen(shell, stderr=subprocess.PIPE))


def reader_gone() -> Any:
    """A pipe whose reader ended: ``| head -c 1``."""
    recorder = start("-q", "-o", "-", "--", "sh", "-c", f"sleep 1; {ASK}", stdout=subprocess.PIPE)
    assert recorder.stdout is not None
    recorder.stdout.read(1)
    recorder.stdout.close()
    recorder.stdout = None
    return outcome(recorder)


# BCC's library attaches, and the signal comes before its caller has the descriptor.
_BETWEEN = """
import os, signal, bcc
attach, calls = bcc.lib.bpf_attach_tracepoint, []

def attached(*arguments):
    descriptor = attach(*arguments)
    calls.append(descriptor)
    if len(calls) == 20:
        os.kill(os.getpid(), signal.SIGTERM)
    return descriptor

bcc.lib.bpf_attach_tracepoint = attached
from virtio_trace.__main__ import main
main()
"""


def between() -> Any:
    command = [sys.executable, "-c", _BETWEEN, "record", "-q", "-o", str(OUT)]
    return outcome(subprocess.Popen(command, stderr=subprocess.PIPE))


def two_at_once() -> Any:
    """The first ends while the second records; each sees what happened in its own time."""
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
    """Events of a recorder that is no more, defined by hand; removed by the next command."""
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
    "hup, compiles": lambda: signalled(signal.SIGHUP, compiling, 0),
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
    """Each time is one call: an entry and a return."""
    bind = Path("/sys/bus/virtio/drivers/virtio_net/bind")
    for _ in range(times):
        with contextlib.suppress(OSError):  # it is not virtio_net's
            write(bind, name)


@contextlib.contextmanager
def stopped() -> Iterator[None]:
    """The boot's own recorder takes nothing from its ring meanwhile, and all before and after."""
    outer = int(OUTER_GROUPS[0].split("_")[2])
    wait_for(lambda: waits(outer), 5 * PATIENCE)
    os.kill(outer, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(outer, signal.SIGCONT)
    wait_for(lambda: waits(outer), 5 * PATIENCE)


def waits(recorder: int) -> bool:
    """Whether it has nothing to do: it neither works nor writes, which takes long here."""
    for _ in range(20):
        if "poll" not in Path(f"/proc/{recorder}/wchan").read_text("ascii"):
            return False
        time.sleep(0.05)
    return True


def flood(times: int, rest: int) -> dict[str, Any]:
    """More happens than the ring holds; then REST more."""
    with stopped():
        ask_about(BLK, times)
    ask_about(BLK, rest)
    return {"asked": times + rest, "thread": os.getpid(), "ended_ns": time.monotonic_ns()}


def swap(times: int, rest: int) -> dict[str, Any]:
    """The same, and while there is no room, devices come anew: in another order."""
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
        except Exception as error:  # the others are worth having
            found[name] = {"error": repr(error)}
        found[name]["seconds"] = round(time.monotonic() - began, 1)
    found["outer"] = {"left": left()}
    found["flood"] = flood(5000, 10)
    found["swap"] = swap(5000, 10)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
