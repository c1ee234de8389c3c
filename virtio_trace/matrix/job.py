# SPDX-License-Identifier: GPL-2.0-or-later
"""What a worker is told: a case as the arguments of boot."""

from __future__ import annotations

from dataclasses import dataclass

from virtio_trace.matrix import devices
from virtio_trace.matrix.case import Case
from virtio_trace.matrix.settings import Expectation

RECORDING = "recording.vtr"
CONSOLE = "console.txt"
OUTCOME = "outcome.json"
CHECK = "check.json"
REPORT = "report.html"
REPORT_JSON = "report.json"
LOG = "boot.log"
TABLES = "boot.txt"
BOARD = "board.toml"
"""The files of a case. Down to the last report, boot --artifacts writes them."""

_NO_DEVICES = ("-parallel", "none")
"""An option without a meaning: with no options at all, boot takes its default devices."""


@dataclass(frozen=True, slots=True)
class Job:
    """``boot`` are the arguments of our command in a folder of its own. ``seconds`` is the guest's
    time limit. ``retries``: how often a guest that dies of emulation is started again. ``version``
    is that of the virtio-trace that the worker must be."""

    name: str
    boot: tuple[str, ...]
    expect: Expectation
    seconds: float
    retries: int
    version: str


def job(case: Case, *, retries: int, version: str) -> Job:
    """The job of CASE."""
    settings = case.settings
    return Job(
        name=case.name,
        boot=tuple(_boot(case)),
        expect=settings.expect,
        seconds=settings.timeout,
        retries=retries,
        version=version,
    )


def _boot(case: Case) -> list[str]:
    settings = case.settings
    found = ["boot", *_source(case)]
    for name, value in (
        ("--append", settings.append),
        ("--run", settings.run),
        ("--until", settings.until),
    ):
        if value:
            found.append(f"{name}={value}")
    found += [f"--timeout={settings.timeout:g}", f"--accel={settings.accel}"]
    found += [f"--collector={settings.collector}"]
    if not settings.boot_events:
        found.append("--no-boot-events")
    if settings.expect.board is not None:
        found.append(f"--board={BOARD}")
    if settings.expect.strict:
        found.append("--strict")
    found += ["--artifacts", ".", "-q", "--"]
    default = devices.DEFAULT_WITH_IMAGE if case.source.image is not None else devices.DEFAULT
    chosen = default if settings.devices is None else settings.devices
    options = [*devices.options(chosen), *settings.qemu]
    return [*found, *(options or _NO_DEVICES)]


def _source(case: Case) -> list[str]:
    source = case.source
    if source.debian is not None:
        return [f"--debian={source.debian}"]
    named = [
        (name, path)
        for name, path in (
            ("--kernel", source.vmlinuz),
            ("--modules", source.modules),
            ("--initrd", source.initrd),
            ("--image", source.image),
            *(("--backing", path) for path in source.backing),
        )
        if path is not None
    ]
    return [f"{name}={path}" for name, path in named]
