# SPDX-License-Identifier: GPL-2.0-or-later
"""What a person does with the Debian package on a live system, and what is seen.

    python -m tests.vm.installed [SUITE ...]

prints what each command printed, and how many seconds it took.
"""

from __future__ import annotations

import base64
import contextlib
import gzip
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from tests.vm import images, live_images
from tests.vm.pane import Pane, Shown
from tests.vm.system import Done, System, tar

TOP = Path(__file__).resolve().parents[2]
WIDTHS = (80, 100)
_TRACE = "sudo virtio-trace"


@dataclass(slots=True)
class Outcome:
    """What one system gave. ``asked``: seconds from power on to the login's question.

    ``done``: commands of the login shell; ``shown``: commands in a terminal of some width, by their
    name and the width; ``pressed``: seconds from Ctrl-C to the prompt, by width.
    """

    suite: str
    asked: float = 0.0
    done: dict[str, Done] = field(default_factory=dict)
    shown: dict[tuple[str, int], Shown] = field(default_factory=dict)
    armed: dict[int, float] = field(default_factory=dict)
    pressed: dict[int, float] = field(default_factory=dict)
    recordings: dict[str, Path] = field(default_factory=dict)


def package() -> Path:
    """The Debian package of this tree; a file that git does not know is not in it."""
    commit = _git("stash", "create") or "HEAD"
    listed = _git("ls-tree", "-r", "--full-tree", commit).splitlines()
    # Of the tests, the package has only recordings.
    files = [line for line in listed if "\ttests/" not in line or "\ttests/golden/" in line]

    def build(scratch: Path) -> Path:
        subprocess.run(["tools/build-deb", commit, scratch], cwd=TOP, check=True)
        (deb,) = scratch.glob("*.deb")
        return deb

    return images.kept("package", "deb", files, build)


def _git(*arguments: str) -> str:
    who = ("-c", "user.name=test", "-c", "user.email=test@virtio-trace.invalid")
    done = subprocess.run(
        ["git", *who, *arguments], cwd=TOP, check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


def use(suite: str, folder: Path) -> Outcome:
    """Install the package in a system of SUITE, use it, purge it."""
    folder.mkdir(parents=True, exist_ok=True)
    given = folder / "given.tar"
    tar([package()], given)
    found = Outcome(suite)
    with System(live_images.image(suite), given, folder) as system:
        found.asked = system.log_in()
        system.must("sudo tar -xf /dev/vdb -C /tmp")
        _look(system, found)
        for columns in WIDTHS:
            _record(Pane(system, columns), system, found, folder)
        _as_a_service(system, found, folder)
        _purge(system, found)
    return found


def _look(system: System, found: Outcome) -> None:
    for name, command in (
        ("settled", "systemctl is-system-running --wait"),
        ("environment", "env"),
        ("dpkg", "sudo dpkg -i /tmp/package-*.deb"),
        ("user's doctor", "virtio-trace doctor"),
        ("doctor", f"{_TRACE} doctor"),
        ("user's record", "virtio-trace record"),
        ("man", "MANWIDTH=80 man virtio-trace-record | head -4"),
    ):
        found.done[name] = system.run(command)


def _record(pane: Pane, system: System, found: Outcome, folder: Path) -> None:
    """Record a device that comes and goes, and one that is bound again; read both."""
    width = pane.columns
    pane.keys("virtio-trace rep", "Tab")
    pane.wait(r"\$ virtio-trace report$")
    pane.keys("C-c")
    found.shown["hotplug", width] = _hotplug(pane, system, found)
    for name, command in (
        ("check", "virtio-trace check --device 0000:00:09.0 hot.vtr"),
        ("report", "virtio-trace report hot.vtr"),
        ("script", "virtio-trace script --device 0000:00:09.0 hot.vtr"),
        ("rebind", f"{_TRACE} record --rebind vdb -o disk.vtr"),
        ("rebind report", "virtio-trace report --device vdb disk.vtr"),
    ):
        found.shown[name, width] = pane.run(command)
    for name in ("hot", "disk"):
        found.recordings[f"{name} {width}"] = _fetch(system, f"{name}.vtr", folder, width)


def _hotplug(pane: Pane, system: System, found: Outcome) -> Shown:
    width = pane.columns
    began = time.monotonic()
    pane.start(f"{_TRACE} record -o hot.vtr")
    pane.wait("armed: ")
    found.armed[width] = time.monotonic() - began
    with contextlib.closing(system.qmp()) as qmp:
        qmp.command("netdev_add", type="user", id=f"n{width}")
        card = {"driver": "virtio-net-pci", "netdev": f"n{width}", "addr": "09.0", "romfile": ""}
        qmp.command("device_add", id=f"hot{width}", **card)
        pane.wait("virtnet_probe")
        system.must("udevadm settle")
        qmp.command("device_del", id=f"hot{width}")
        pane.wait("virtio_dev_remove")
        pane.wait("unregister_virtio_device")
    pane.keys("C-c")
    pressed = time.monotonic()
    shown = pane.end()
    found.pressed[width] = time.monotonic() - pressed
    return shown


def _fetch(system: System, name: str, folder: Path, width: int) -> Path:
    text = system.must(f"gzip -c {name} | base64")
    path = folder / f"{width}-{name}"
    path.write_bytes(gzip.decompress(base64.b64decode(text)))
    return path


def _as_a_service(system: System, found: Outcome, folder: Path) -> None:
    """systemd starts it, waits until it is armed, and ends it."""
    for name, command in (
        ("start", "sudo systemd-run -u rec -p Type=notify virtio-trace record -q -o /tmp/unit.vtr"),
        ("status", "systemctl show -p ActiveState -p StatusText rec"),
        ("load", "sudo modprobe -r virtio_rng; sudo modprobe virtio_rng"),
        ("stop", "sudo systemctl stop rec"),
        ("journal", "sudo journalctl --no-pager -q -o cat -u rec"),
    ):
        found.done[f"service: {name}"] = system.run(command)
    system.must("cp /tmp/unit.vtr .")
    found.recordings["unit"] = _fetch(system, "unit.vtr", folder, 0)


def _purge(system: System, found: Outcome) -> None:
    for name, command in (
        ("probes", "sudo cat /sys/kernel/tracing/kprobe_events"),
        ("failed", "systemctl --failed --plain --no-legend --no-pager"),
        ("log", "sudo dmesg | grep -E 'BUG|Oops|WARNING'"),
        ("purge", "sudo dpkg --purge virtio-trace"),
        ("left", "sudo find / -xdev -name '*virtio[-_]trace*'"),
    ):
        found.done[name] = system.run(command)


def main(suites: list[str]) -> None:
    """Print what SUITES give."""
    for suite in suites or live_images.SUITES:
        with tempfile.TemporaryDirectory(prefix="vt-live-") as name:
            found = use(suite, Path(name))
        print(f"== {suite}: login after {found.asked:.0f} s")
        for what, done in found.done.items():
            print(f"-- {what}: status {done.status}, {done.seconds:.1f} s\n{done.text}")
        for (what, columns), shown in found.shown.items():
            print(f"-- {what}, {columns} columns: {shown.status}, {shown.seconds:.1f} s")
            print("\n".join([shown.command, *shown.lines]))
        print(f"armed after {found.armed}, prompt after Ctrl-C {found.pressed}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
