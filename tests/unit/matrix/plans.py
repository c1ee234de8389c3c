# SPDX-License-Identifier: GPL-2.0-or-later
"""Plans and results for the tests of a matrix."""

from __future__ import annotations

from pathlib import Path

from virtio_trace.matrix import plan
from virtio_trace.matrix.case import OK, Attempt, Case, CaseResult
from virtio_trace.matrix.plan import Plan

SMALL = """
boots = 2

[kernel.old]
debian = "linux-image-cloud-amd64/bullseye"

[kernel.new]
debian = "linux-image-cloud-amd64/sid"

[board.default]

[board.net]
devices = ["virtio-net-pci,vectors=0"]
"""


def write(folder: Path, text: str = SMALL) -> Path:
    """The file of the plan TEXT, in FOLDER."""
    path = folder / "plan.toml"
    path.write_text(text, "utf-8")
    return path


def read(folder: Path, text: str = SMALL, *, trust: bool = False) -> Plan:
    """The plan TEXT, as a file in FOLDER."""
    return plan.read(write(folder, text), trust=trust)


def result(case: Case, status: str = OK, attempts: int = 1) -> CaseResult:
    """A result of CASE."""
    died = [Attempt("died", 4, 2.0, "tcg", "the guest died after 1.0 s")] * (attempts - 1)
    return CaseResult(
        name=case.name,
        status=status,
        why=[] if status == OK else ["it <did> not"],
        verdict="CONFORMS",
        attempts=[*died, Attempt("done", 0, 8.0, "tcg", "the guest ended")],
        kernel_release="6.1.0",
        devices=3,
        fingerprint=case.fingerprint,
        stamps=case.stamps(),
    )
