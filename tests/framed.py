# SPDX-License-Identifier: GPL-2.0-or-later
"""Keeps what a guest's executor sends: python -m tests.framed NAME boot ...

The rest of the command line is virtio-trace's; -o FILE must be in it. NAME.frames gets the bytes of
the guest's port. NAME.json.xz gets what is needed to decode them again, and the recording that boot
made of them (tests/unit/tracer/session/test_guest_recording.py).
"""

from __future__ import annotations

import json
import lzma
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any
from unittest import mock

from virtio_trace.__main__ import main
from virtio_trace.cli.boot import executor
from virtio_trace.recording.evidence import Evidence
from virtio_trace.tracer.executor import plan as plan_file
from virtio_trace.tracer.executor.plan import Plan, Program
from virtio_trace.tracer.points import table
from virtio_trace.tracer.points.offline import OfflineKernel
from virtio_trace.tracer.points.resolve import ResolvedProbe
from virtio_trace.tracer.points.target import Target
from virtio_trace.tracer.session.guest_recording import GuestTask
from virtio_trace.vm.qemu.executor_channel import ExecutorChannel


def keep(name: str, argv: list[str]) -> None:
    """Run virtio-trace ARGV, and keep what its guest sends."""
    sent = bytearray()
    tasks: list[GuestTask] = []
    feed = ExecutorChannel.feed

    def listen(channel: ExecutorChannel, data: bytes) -> None:
        sent.extend(data)
        feed(channel, data)

    def make(*arguments: Any) -> GuestTask:
        tasks.append(GuestTask(*arguments))
        return tasks[-1]

    sys.argv = ["virtio-trace", *argv]
    with (
        mock.patch.object(ExecutorChannel, "feed", listen),
        mock.patch.object(executor, "GuestTask", make),
    ):
        try:
            main()
        except SystemExit as end:
            if end.code:
                raise
    Path(f"{name}.frames").write_bytes(sent)
    lines = Path(argv[argv.index("-o") + 1]).read_text(encoding="utf-8").splitlines()
    text = json.dumps({"task": _json(tasks[0]), "lines": lines}).encode()
    Path(f"{name}.json.xz").write_bytes(lzma.compress(text, preset=9 | lzma.PRESET_EXTREME))


def load(name: Path) -> tuple[bytes, GuestTask, list[bytes]]:
    """The bytes of the port, the task, and the recording's lines."""
    kept = json.loads(lzma.decompress(Path(f"{name}.json.xz").read_bytes()))
    lines = [f"{line}\n".encode() for line in kept["lines"]]
    return Path(f"{name}.frames").read_bytes(), _task(kept["task"]), lines


def _json(task: GuestTask) -> dict[str, Any]:
    kernel, plan = task.kernel, task.plan
    points = list(table.points(kernel.evidence))
    members = {member: getattr(plan, member) for member in Plan.__slots__}
    members["programs"] = [Program(one.name, one.kind, b"") for one in plan.programs]
    return {
        "release": kernel.release,
        "machine": kernel.machine,
        "builtin": kernel.builtin,
        "evidence": kernel.evidence.to_json(),
        "offsets": kernel.offsets,
        "probes": [
            (points.index(one.point), one.target and asdict(one.target), one.reason, one.absent)
            for one in kernel.probes
        ],
        "plan": plan_file.encode(Plan(**members)).hex(),
        "command": task.command,
        "third_party": task.third_party,
        "program": task.program,
        "only_initrd": task.only_initrd,
    }


def _task(raw: Any) -> GuestTask:
    evidence = Evidence.from_json(raw["evidence"])
    points = table.points(evidence)
    probes = [
        ResolvedProbe(points[number], Target(**target) if target else None, reason, absent)
        for number, target, reason, absent in raw["probes"]
    ]
    kernel = OfflineKernel(
        *(raw["release"], raw["machine"], tuple(raw["builtin"]), evidence, raw["offsets"], probes)
    )
    plan = plan_file.decode(bytes.fromhex(raw["plan"]))
    command = tuple(raw["command"])
    return GuestTask(
        *(kernel, plan, command, raw["third_party"], raw["program"], raw["only_initrd"])
    )


if __name__ == "__main__":
    keep(sys.argv[1], sys.argv[2:])
