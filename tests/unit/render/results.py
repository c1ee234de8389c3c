# SPDX-License-Identifier: GPL-2.0-or-later
"""Results and recordings that the tests of CI's formats write."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

from tests.unit.surgery import GOLDEN
from virtio_trace.check import verdict
from virtio_trace.check.findings import (
    DEVIATES,
    ERROR,
    INCOMPLETE,
    NOTE,
    RECORDING,
    WARNING,
    Finding,
    Result,
    StepResult,
)
from virtio_trace.recording import reader
from virtio_trace.recording.reader import Recording
from virtio_trace.report.about import About, about

NAMES = sorted(path.stem for path in GOLDEN.glob("*.vtr"))

HOSTILE = (
    "a\nb\r\n::error::c\x00\x1b[31m\ud800\ufffe\u202e # SKIP ##[error] <b>&amp;</b> ]]> \"' `x` | "
    "*z* _w_ [l](http://example.org) ![i](www.example.org) 100% %0A not ok 1 é @somebody ~~s~~ \\| "
    "$m$"
)
"""What no kernel says, but a file may."""

ABOUT = About("0123456789abcdef" * 2, f"6.1 {HOSTILE}", "x86_64")


def recording(name: str) -> Recording:
    """tests/golden/NAME.vtr."""
    with (GOLDEN / f"{name}.vtr").open("rb") as lines:
        return reader.read(lines, name)


def result(name: str) -> tuple[Result, About]:
    """The check of tests/golden/NAME.vtr, and what is known of it."""
    read = recording(name)
    return verdict.judge(read), about(read)


def hostile() -> Result:
    """Every kind of step and finding, with HOSTILE in each text."""
    steps = [
        StepResult("driver-probed", HOSTILE, True),
        StepResult("driver-probed", HOSTILE, False),
        StepResult(f"step {HOSTILE}", "0000:00:02.0", None),
        StepResult("device-registered", "0000:00:02.0", None, before=True),
    ]
    found = [
        Finding(ERROR, "driver-probed", HOSTILE, HOSTILE, (1, 2)),
        Finding(WARNING, f"step {HOSTILE}", "0000:00:02.0", HOSTILE),
        Finding(WARNING, "device-registered", "0000:00:02.0", "early", before=True),
        Finding(NOTE, "driver-probed", HOSTILE, f"a note {HOSTILE}"),
        Finding(WARNING, "elsewhere", HOSTILE, f"elsewhere {HOSTILE}"),
        Finding(WARNING, RECORDING, HOSTILE, f"lost {HOSTILE}"),
    ]
    return Result(DEVIATES, steps=steps, findings=found)


def incomplete() -> Result:
    """Nothing failed, but a step is unknown."""
    return Result(
        INCOMPLETE,
        steps=[
            StepResult("driver-probed", "0000:00:02.0", None),
            StepResult("driver-probed", "0000:00:03.0", True),
        ],
        findings=[Finding(WARNING, "driver-probed", "0000:00:02.0", "it was not seen")],
    )


def written(render: Callable[..., None], subject: Any, **keywords: Any) -> str:
    """What RENDER writes of SUBJECT."""
    out = io.StringIO()
    render(subject, out, **keywords)
    return out.getvalue()
