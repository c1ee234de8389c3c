# SPDX-License-Identifier: GPL-2.0-or-later
"""Boots the images of images.py with our own command, and keeps the results."""

from __future__ import annotations

import hashlib
import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.vm import images, oracle
from tests.vm.guest import COMMAND, Boot, cut

END = "text:@@ end"
"""--until: what an image's own service says last."""

_PATIENCE_SECONDS = 900

# Others write to the console too, and not always on lines of their own.
_DEVICE = re.compile(r"virtio\d+( \S+){5} [01]+ [0-9a-f]+")


@dataclass(frozen=True, slots=True)
class Case:
    """An image and how to boot it. ``append`` is for an image without a boot loader."""

    image: str
    append: str = ""
    until: str | None = None
    options: Sequence[str] = field(default=())


@dataclass(slots=True)
class Foreign(Boot):
    """A boot of an image, and the image's checksums before and after it."""

    checksums: tuple[str, str] = ("", "")

    @property
    def final(self) -> dict[str, oracle.SysfsDevice]:
        """The devices as the image's own service saw them when it was up."""
        found = (_DEVICE.match(line) for line in self.sections["final"])
        return oracle.devices(line[0] for line in found if line)

    @property
    def summary(self) -> str:
        """Its message about the end: ``enough after 61.1 s (tcg): ...``."""
        lines = (line.removeprefix("virtio-trace: ") for line in self.stderr.splitlines())
        return next((line for line in lines if line.startswith("enough after")), "")


def boot(case: Case, folder: Path) -> Foreign:
    """Boots CASE, and keeps its recording and its console in FOLDER."""
    path = images.image(case.image)
    folder.mkdir(parents=True, exist_ok=True)
    recording, console = folder / "image.vtr", folder / "console.txt"
    before = checksum(path)
    command = [
        *(*COMMAND, "boot", "--image", str(path), "-q", "-o", str(recording)),
        *("--append", f"initcall_debug {case.append}".strip(), "--keep-console", str(console)),
        *("--timeout", str(_PATIENCE_SECONDS)),
        *(["--until", case.until] if case.until else []),
        *(["--", *case.options] if case.options else []),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    said = console.read_text("utf-8", errors="replace") if console.exists() else ""
    found = Foreign(case.image, done.returncode, done.stdout, done.stderr, said, recording)
    found.checksums = (before, checksum(path))
    found.kernel_log, found.sections = cut(said)
    return found


def checksum(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def wrong_verdict(booted: Boot, verdict: str) -> list[str]:
    """What is wrong with the recording: its verdict, lost events, probes not armed."""
    _status, found = booted.check()
    report = booted.report()["recording"]
    wrong = [] if found["verdict"] == verdict else [f"it is {found['verdict']}"]
    wrong += [f"{f['severity']}: {f['message']}" for f in found["findings"]] if wrong else []
    wrong += [f"{report['lost']} events lost"] if report["lost"] else []
    # What had no room on the command line is missing at boot only: check knows what needs it.
    unseen = (p for p in report["unseen"] if not (p["reason"] or "").startswith("at boot: not on"))
    return wrong + [f"{probe['probe']}: {probe['reason']}" for probe in unseen]


def wrong_devices(booted: Foreign) -> list[str]:
    """Where our report differs from sysfs in the guest after the boot."""
    theirs = {
        d.address: (d.name, d.driver, d.id, f"0x{d.vendor:04x}") for d in booted.final.values()
    }
    ours = {
        d["address"]: (d["name"], d["driver"], d["id"], d["vendor"])
        for d in booted.report()["devices"]
    }
    wrong = [] if theirs == ours else [f"devices are {ours}, by sysfs {theirs}"]
    for binding in booted.report()["bindings"]:
        device = booted.final.get(binding["device"])
        if device is None or not binding["status"]:
            continue
        last = binding["status"][-1]["value"]
        if last != device.status:
            wrong.append(f"{binding['device']}: status {last:#x}, by sysfs {device.status:#x}")
    return wrong
