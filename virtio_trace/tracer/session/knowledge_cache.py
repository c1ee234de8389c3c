# SPDX-License-Identifier: GPL-2.0-or-later
"""What a kernel's files said the last time, for the same kernel with the same files.

Reading them takes an emulated guest seconds. What was read is used again only if all that it came
from is as it was: the build id, the lists and files of the module tree (by size, time and inode),
the drivers on the bus, what kallsyms shows, and this program itself.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import astuple
from pathlib import Path
from typing import Any

from virtio_trace.errors import VirtioTraceError
from virtio_trace.kernel.running import sysfs
from virtio_trace.kernel.running.host import HostKernel, registered
from virtio_trace.recording.evidence import Evidence
from virtio_trace.tracer import private_cache
from virtio_trace.tracer.bpf.wire import WireOffsets
from virtio_trace.tracer.executor.kernel import build_id
from virtio_trace.tracer.points import table
from virtio_trace.tracer.points.point import ProbePoint
from virtio_trace.tracer.points.resolve import ResolvedProbe
from virtio_trace.tracer.points.target import Target
from virtio_trace.tracer.session.knowledge import Knowledge

FOLDER = "kernels"
"""The cache's folder for it."""

_PACKAGE = Path(__file__).resolve().parents[2]
_READERS = ("kernel", "tracer", "recording", "virtio")
_LISTS = ("dep", "alias", "order", "builtin", "builtin.modinfo", "softdep")


def key(host: HostKernel) -> str | None:
    """What identifies the running kernel and its files; None: nothing does, so nothing is kept."""
    identity = build_id(sysfs.data(host.sys / "kernel/notes") or b"")
    if not identity:
        return None
    parts = [
        identity.hex(),
        host.release,
        host.machine,
        sysfs.text(host.proc / "sys/kernel/version"),
        sysfs.text(host.proc / "sys/kernel/kptr_restrict"),
        os.geteuid(),
        [astuple(driver) for driver in registered(host.sys)],
        sorted(name for name in host.loaded_modules() if "virtio" in name),
        _stamps(host.module_tree / f"modules.{name}" for name in _LISTS),
        _stamps(sorted(p for room in _READERS for p in (_PACKAGE / room).rglob("*.py"))),
    ]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def read(key: str, tree: Path) -> Knowledge | None:
    """What was kept under KEY; None: nothing, or a module's file in TREE has changed since."""
    data = private_cache.read(FOLDER, _name(key))
    if data is None:
        return None
    try:
        raw = json.loads(data)
        if raw["key"] != key or raw["files"] != _files(raw["evidence"], tree):
            return None
        return _knowledge(raw)
    except (ValueError, LookupError, TypeError, AttributeError, VirtioTraceError):
        return None


def keep(key: str, knowledge: Knowledge, tree: Path) -> None:
    """Keep KNOWLEDGE under KEY, unless something could not be read: that may be a passing fault."""
    if knowledge.evidence.unread:
        return
    evidence = knowledge.evidence.to_json()
    points = table.points(knowledge.evidence)
    raw = {
        "key": key,
        "files": _files(evidence, tree),
        "evidence": evidence,
        "offsets": {each[0]: getattr(knowledge.offsets, each[0]) for each in WireOffsets._fields_},
        "members": knowledge.members,
        "cookies": knowledge.cookies,
        "probes": [_probe(probe, points) for probe in knowledge.probes],
    }
    private_cache.keep(FOLDER, _name(key), json.dumps(raw).encode())


def _knowledge(raw: dict[str, Any]) -> Knowledge:
    evidence = Evidence.from_json(raw["evidence"])
    points = table.points(evidence)
    return Knowledge(
        evidence,
        WireOffsets(**raw["offsets"]),
        [_resolved(one, points) for one in raw["probes"]],
        raw["members"],
        raw["cookies"],
        {},
    )


def _probe(probe: ResolvedProbe, points: Sequence[ProbePoint]) -> list[Any]:
    target = astuple(probe.target) if probe.target is not None else None
    return [points.index(probe.point), target, probe.reason, probe.absent]


def _resolved(raw: list[Any], points: Sequence[ProbePoint]) -> ResolvedProbe:
    number, target, reason, absent = raw
    where = Target(*target) if target is not None else None
    return ResolvedProbe(points[number], where, reason, absent)


def _files(evidence: dict[str, Any], tree: Path) -> list[Any]:
    """The stamps of the module files that EVIDENCE, as JSON, is from."""
    parts = (*evidence["drivers"], *evidence["transports"])
    return _stamps(tree / name for name in sorted({part["file"] for part in parts}))


def _stamps(paths: Iterable[Path]) -> list[Any]:
    """Each path with what changes when it does; a list as JSON has it."""
    out: list[Any] = []
    for path in paths:
        try:
            found = path.stat()
            out.append([str(path), found.st_mtime_ns, found.st_size, found.st_ino])
        except OSError:
            out.append([str(path), None])
    return out


def _name(key: str) -> str:
    return f"{key[:32]}.json"
