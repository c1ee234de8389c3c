# SPDX-License-Identifier: GPL-2.0-or-later
"""What a long recording costs: lost events, memory, and bytes on the wire, in a guest.

    python -m tests.bench.wire [--cycles 10000] [--plugs 500] [one two plug live ftrace]

``one`` and ``two``: CYCLES of unbind and bind of virtio_net, on so many processors. ``plug``: a
device is plugged and unplugged PLUGS times by QMP. ``live``: the cycles of ``one``, recorded by
``record`` to a file in the guest, without our boot's recorder. ``ftrace``: those of ``one`` in a
guest without an agent. The guests are emulated (TCG).
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from tests.bench.cost import KERNEL
from tests.vm import appliance, cycles
from tests.vm.cycles import Look
from tests.vm.guest import BLK, COMMAND, NET, Guest, boot, cut

TIMEOUT_SECONDS = 7200
_APPEND = "quiet"
_EARLY = 0.2
"""Of all cycles: memory is looked at after these, and at the end."""

# As cost.py: the appliance without our boot's recorder; this script is the first process.
_LIVE = (
    appliance.first("/run/out")
    + """
cat >/run/task <<'END'
at() { echo "@@ $1"; }
recorder=$PPID
{task}
at said
END
python3 -I -B -m virtio_trace record -q -o /run/x.vtr -- sh /run/task
echo "@@ trailer"
tail -n 1 /run/x.vtr
echo "@@ size"
stat -c %s /run/x.vtr
cat /run/out >/dev/console
sync
poweroff -f
"""
)


def _print(name: str, looks: list[Look], trailer: dict[str, object], size: int) -> int:
    """One line of figures. Returns how many events were lost."""
    first, early, last = looks
    count = last.cycles
    events, lost = trailer["events"], trailer["lost"]
    assert isinstance(events, int) and isinstance(lost, int)
    print(
        f"{name:6} {count:6} cycles  {last.seconds - first.seconds:7.0f} s  {events:8,} events"
        f"  {lost:6,} lost  {size / count:6,.0f} bytes of lines a cycle"
        f"  {(last.sent - first.sent) / count:6,.0f} on the wire"
        f"  recorder {early.recorder / 1024:.1f} MiB after {early.cycles},"
        f" {last.recorder / 1024:.1f} at the end",
        flush=True,
    )
    return lost


def _booted(name: str, guest: Guest, folder: Path) -> int:
    booted = boot(guest, folder / name)
    with booted.recording.open("rb") as file:
        *_, last = file
    trailer = json.loads(last)
    return _print(name, cycles.looks(booted), trailer, booted.recording.stat().st_size)


def _live(counts: tuple[int, int], folder: Path) -> int:
    folder.mkdir(parents=True, exist_ok=True)
    console, root = folder / "live.console", folder / "root.cpio"
    appliance.write(root)
    command = [
        *(*COMMAND, "boot", "--debian", KERNEL, "-q", "--timeout", str(TIMEOUT_SECONDS)),
        *("--append", f"{_APPEND} rdinit=/usr/bin/dash -- /virtio-trace/run"),
        *("--accel", "tcg", "-o", str(folder / "none.vtr"), "--keep-console", str(console)),
        *("--root", str(root)),
        *("--run", _LIVE.replace("{task}", cycles.rebinding(counts)), "--", *NET, *BLK),
    ]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    _, sections = cut(console.read_text("utf-8", errors="replace"))
    if "size" not in sections:
        sys.exit(f"the guest did not end: {done.stderr[-2000:]}")
    trailer = json.loads(sections["trailer"][0])
    return _print("live", cycles.looks_of(sections), trailer, int(sections["size"][0]))


def main() -> int:
    """Runs what was asked for. The status is 1 if anything was lost."""
    parser = argparse.ArgumentParser(prog="tests.bench.wire")
    parser.add_argument("names", nargs="*", metavar="NAME", help="one two plug live ftrace")
    parser.add_argument("--cycles", type=int, default=10_000)
    parser.add_argument("--plugs", type=int, default=500)
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="keep recordings there")
    asked = parser.parse_args()
    counts = (int(asked.cycles * _EARLY), asked.cycles)
    plugs = (int(asked.plugs * _EARLY), asked.plugs)
    bind = cycles.rebinding(counts)

    def guest(name: str, *options: str, collector: str = "auto") -> Callable[[Path], int]:
        which = Guest(
            "6.1", bind, (*NET, *BLK, *options), append=_APPEND, collector=collector,
            timeout=TIMEOUT_SECONDS,
        )  # fmt: skip
        return lambda folder: _booted(name, which, folder)

    plug = Guest(
        "6.12", cycles.plugging(plugs), (*NET, *BLK, *cycles.HOT), append=_APPEND,
        host=cycles.plug(plugs), timeout=TIMEOUT_SECONDS,
    )  # fmt: skip
    every: dict[str, Callable[[Path], int]] = {
        "one": guest("one"),
        "two": guest("two", "-smp", "2"),
        "plug": lambda folder: _booted("plug", plug, folder),
        "live": lambda folder: _live(counts, folder),
        "ftrace": guest("ftrace", collector="ftrace"),
    }
    unknown = set(asked.names) - every.keys()
    if unknown:
        parser.error(f"{', '.join(sorted(unknown))}: not among {', '.join(every)}")
    with tempfile.TemporaryDirectory() as temporary:
        folder = asked.keep or Path(temporary)
        lost = [every[name](folder) for name in asked.names or every]
    return 1 if any(lost) else 0


if __name__ == "__main__":
    sys.exit(main())
