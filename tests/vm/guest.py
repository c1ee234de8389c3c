# SPDX-License-Identifier: GPL-2.0-or-later
"""Boots a real kernel with our own command, and keeps the results: one boot, many tests.

A guest's script prints its results on the console in sections ("@@ NAME" and the lines after it).
It prints them at its end, with the kernel's messages turned off, so that the two do not mix. Before
that, only the kernel writes to the console.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.vm import appliance, qmp

# The kernels of the tests; make matrix has more, by their packages.
KERNELS = {
    "6.1": "linux-image-cloud-amd64/bookworm",  # all of VirtIO is modular
    "6.12": "linux-image-6.12-cloud-amd64/bookworm",  # the bus and its PCI transport are built in
}

COMMAND = (sys.executable, "-m", "virtio_trace")

# The longest script takes some three minutes on two idle cores; a busy machine must not fail.
_PATIENCE_SECONDS = 1200

# The default devices, for tests that add to them.
NET = ("-netdev", "user,id=net0", "-device", "virtio-net-pci,netdev=net0,romfile=,addr=02.0")
BLK = (
    *("-blockdev", "null-co,node-name=disk0,size=67108864,read-zeroes=on"),
    *("-device", "virtio-blk-pci,drive=disk0,addr=03.0"),
)

BEFORE = """exec >/run/out 2>&1
export LANG=C.UTF-8 PYTHONDONTWRITEBYTECODE=1
at() { echo "@@ $1"; }
"""
AFTER = """
status=$?
echo 1 >/proc/sys/kernel/printk
echo N >/sys/module/printk/parameters/ignore_loglevel
at end
cat /run/out >/dev/console
exit $status
"""


ARMED = re.compile(
    r"virtio-trace: armed: (\d+) probe points, (\d+) wait for their modules; Ctrl-C stops"
)
STEPS = ("virtio-trace: arming…", "virtio-trace: stopping…")
"""Printed without a terminal where they take longer than half a second."""


def told(lines: list[str]) -> list[str]:
    """What a recorder told on standard error, without its progress and empty lines."""
    return [one for one in lines if one and one not in STEPS and not ARMED.fullmatch(one)]


@dataclass(frozen=True, slots=True)
class Guest:
    """What to boot: one of KERNELS, the script for --run, and QEMU's options.

    ``seconds`` is roughly how long it takes: the longest starts first. ``host`` is what the host
    does at an ``ask NAME`` in the script (qmp.ASK). ``boot_events``: the kernel records what is
    built in. ``timeout``: seconds after which it is ended. ``python``: its root has Python with our
    package, and kmod (appliance.py); without it the root is the product's own, busybox alone.
    """

    kernel: str
    script: str
    options: tuple[str, ...] = ()
    append: str = "initcall_debug"
    seconds: int = 20
    host: qmp.Answer | None = None
    boot_events: bool = True
    collector: str = "auto"
    timeout: int = _PATIENCE_SECONDS
    python: bool = False


@dataclass(slots=True)
class Boot:
    """The results of a boot. ``kernel_log`` is the console before the script's sections.
    ``answers``: the host's results, by the name that the script asked for."""

    kernel: str
    status: int
    stdout: str
    stderr: str
    console: str
    recording: Path
    sections: dict[str, list[str]] = field(default_factory=dict)
    kernel_log: str = ""
    answers: dict[str, Any] = field(default_factory=dict)

    def report(self) -> dict[str, Any]:
        """``report --format json`` of its recording."""
        status, found = run_json("report", self.recording)
        assert status == 0
        return found

    def check(self) -> tuple[int, dict[str, Any]]:
        """Exit status and JSON of ``check``."""
        return run_json("check", self.recording)

    def read(self, verb: str) -> subprocess.CompletedProcess[str]:
        """Runs the command VERB on the recording."""
        return run(verb, str(self.recording))

    def events(self) -> list[dict[str, Any]]:
        """The recording's own lines between header and trailer."""
        return self.lines()[1:-1]

    def lines(self) -> list[dict[str, Any]]:
        """Every line of the recording as JSON, read without our own reader."""
        return [json.loads(line) for line in self.recording.read_text("ascii").splitlines()]


def running(module: str, *more: str) -> str:
    """Shell that sends MODULE and MORE of this folder into the guest, and runs MODULE there; its
    output is the section "outcomes"."""
    sent = [
        f"cat >/run/py/tests/vm/{name}.py <<'END'\n{_source(name)}END\n" for name in (*more, module)
    ]
    run_it = f"at outcomes\nPYTHONPATH=/run/py python3 -m tests.vm.{module}\n"
    return f"mkdir -p /run/py/tests/vm\n{''.join(sent)}{run_it}"


def _source(name: str) -> str:
    return Path(__file__).with_name(f"{name}.py").read_text("utf-8")


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs our own command to its end. It must not print a traceback."""
    done = subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, check=False)
    assert "Traceback" not in done.stderr, done.stderr
    return done


def run_json(verb: str, recording: Path, *options: str) -> tuple[int, dict[str, Any]]:
    """Exit status and JSON of a command that reads a recording."""
    done = run(verb, "--format", "json", *options, str(recording))
    return done.returncode, json.loads(done.stdout)


def boot(guest: Guest, folder: Path) -> Boot:
    """Boots GUEST, and keeps its recording and its console in FOLDER."""
    folder.mkdir(parents=True, exist_ok=True)
    recording, console = folder / "boot.vtr", folder / "console.txt"
    root = folder / "root.cpio"
    if guest.python:
        appliance.write(root)
    with qmp.monitor() as monitor:
        options = (*guest.options, *(monitor.options if guest.host else ()))
        command = [
            *(*COMMAND, "boot", "--debian", KERNELS.get(guest.kernel, guest.kernel)),
            *("--append", guest.append, "--timeout", str(guest.timeout)),
            *("--collector", guest.collector),
            *("--keep-console", str(console), "-o", str(recording), "-q"),
            *("--run", BEFORE + (qmp.ASK if guest.host else "") + guest.script + AFTER),
            *([] if guest.boot_events else ["--no-boot-events"]),
            *(["--root", str(root)] if guest.python else []),
            *(["--", *options] if options else []),
        ]
        with monitor.serving(console, guest.host):
            done = subprocess.run(
                command,
                capture_output=True,
                text=True,
                check=False,
                env={**os.environ, "COLUMNS": "100"},
            )
    root.unlink(missing_ok=True)
    said = (
        console.read_text("utf-8", errors="replace").replace("\r", "") if console.exists() else ""
    )
    whole = Boot(guest.kernel, done.returncode, done.stdout, done.stderr, said, recording)
    whole.answers = monitor.answers
    whole.kernel_log, whole.sections = cut(said)
    assert "end" in whole.sections, f"the script did not end: {done.stderr}\n{said[-3000:]}"
    return whole


def cut(console: str) -> tuple[str, dict[str, list[str]]]:
    """CONSOLE before its first section, and the sections' lines by their names."""
    kernel_log, _, rest = console.replace("\r", "").partition("@@ ")
    sections: dict[str, list[str]] = {}
    name = ""
    for line in ("@@ " + rest).splitlines():
        if line.startswith("@@ "):
            name = line.removeprefix("@@ ").strip()
            sections[name] = []
        else:
            sections[name].append(line)
    return kernel_log, sections
