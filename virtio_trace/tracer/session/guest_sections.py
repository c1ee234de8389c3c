# SPDX-License-Identifier: GPL-2.0-or-later
"""What a guest's executor sends beside its events, read: tracer/executor/guest.py is the sender.

The guest is not trusted: nothing here raises but ValueError, for a section without which no
recording can begin.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from virtio_trace.kernel.running import sysfs_text
from virtio_trace.tracer.bpf.decoder import MOST_LOST
from virtio_trace.tracer.executor.plan import NO_POINT
from virtio_trace.tracer.ftrace.boot_events import BootRing
from virtio_trace.tracer.ftrace.confirm import ring_losses
from virtio_trace.tracer.ftrace.tracefs import event_counts

_NUMBER = re.compile(r"[0-9]{1,18}")
_CLOCK = re.compile(r"\[(\w{1,20})\]")
_MODULE_NAME = re.compile(r"[\w-]{1,64}")
_STATE = re.compile(r"[\w-]{0,32}")


class Scratch(Protocol):
    """Provides an empty folder for the time of a with statement."""

    def __call__(self) -> AbstractContextManager[Path]: ...


@dataclass(frozen=True, slots=True)
class Section:
    """A section: its name, when it was made (CLOCK_MONOTONIC, nanoseconds) and its text."""

    name: str
    ns: int
    text: str


@dataclass(frozen=True, slots=True)
class ArmedPoints:
    """What was armed. ``since`` and ``until`` are the times before the first and after the last
    probe was attached; ``ns`` has the time of each by number; ``shared`` are those that were
    attached to events that the kernel had already."""

    since: int
    until: int
    ns: Mapping[int, int]
    shared: frozenset[int]


_KNOWN = {
    *("armed", "refused", "ready", "initrd", "cmdline", "lockdown", "end", "profile", "lost"),
    *("boot clock", "boot events", "boot trace", "boot profile"),
    *(
        f"{what} {when}"
        for what in (
            "kprobes",
            "modules",
            "sysfs",
            "iomem",
            "interrupts",
            "deferred",
            "modprobe",
            "root",
        )
        for when in ("start", "end")
    ),
}
_STATS = re.compile(r"boot stats cpu[0-9]{1,4}")


def is_known(name: str) -> bool:
    """Whether a recording uses the section NAME. A guest may send any."""
    return name in _KNOWN or _STATS.fullmatch(name) is not None


def parse(payload: bytes) -> Section | None:
    """The section in a frame's PAYLOAD; None: damaged."""
    name, _, rest = payload.decode("utf-8", "backslashreplace").partition("\n")
    ns, _, text = rest.partition("\n")
    return Section(name, int(ns), text) if _NUMBER.fullmatch(ns) else None


def armed(text: str) -> ArmedPoints:
    """The section "armed". Raises ValueError where it is damaged."""
    first, *lines = text.splitlines() or [""]
    since, until = _numbers(first, 2)
    if until < since:
        raise ValueError("it ends before it begins")
    points = [_numbers(line, 3) for line in lines]
    return ArmedPoints(
        since,
        until,
        {number: ns for number, ns, _ in points if number != NO_POINT},
        frozenset(number for number, _, known in points if known),
    )


def refused(text: str) -> dict[int, str]:
    """The section "refused": why, by number."""
    found = (line.partition(" ") for line in text.splitlines())
    return {int(number): why for number, _, why in found if _NUMBER.fullmatch(number)}


def boot_ring(sections: Mapping[str, Section]) -> BootRing | None:
    """The sections about the kernel's boot-time events; None: there are none, or not all."""
    names = ("boot clock", "boot events", "boot trace", "boot profile")
    if not all(name in sections for name in names):
        return None
    clock, events, trace, profile = (sections[name] for name in names)
    mode = _CLOCK.search(clock.text)
    stats = (s.text for name, s in sections.items() if name.startswith("boot stats "))
    return BootRing(
        listed=events.text,
        clock=mode[1] if mode else "unknown",
        counts=event_counts(profile.text),
        overrun=min(ring_losses(x for text in stats for x in text.splitlines()), MOST_LOST),
        lines=[f"{line}\n" for line in trace.text.splitlines() if not line.startswith("#")],
        end=clock.ns,
    )


def modules(text: str) -> dict[str, bool]:
    """/proc/modules (proc_modules(5)): the name of each loaded module, and whether it is live."""
    found = (line.split() for line in text.splitlines())
    return {
        words[0]: "Live" in words[4:5]
        for words in found
        if len(words) > 4 and _MODULE_NAME.fullmatch(words[0])
    }


def rebuild(sections: Mapping[str, Section], when: str, root: Path) -> None:
    """Create in ROOT, an empty folder, what the guest had WHEN (start or end): its sys/, with
    debugfs in it, its proc/cmdline, and modprobe's configuration."""
    sysfs_text.rebuild(_lines(sections, when), root)


def _lines(sections: Mapping[str, Section], when: str) -> Iterator[str]:
    def text(name: str) -> list[str]:
        return sections[name].text.splitlines() if name in sections else []

    yield from text(f"sysfs {when}")
    yield from text(f"modprobe {when}")
    for line in text("cmdline")[:1]:
        yield from ("==> /proc/cmdline <==", line)
    for name, live in modules("\n".join(text(f"modules {when}"))).items():
        yield from (f"==> /sys/module/{name}/initstate <==", "live" if live else "coming")
    yield from (f"deferred {line}" for line in text(f"deferred {when}"))
    yield from (f"iomem {line}" for line in text(f"iomem {when}"))
    yield from (f"interrupts {line}" for line in text(f"interrupts {when}"))


def is_initrd(text: str) -> bool:
    """Whether the section "root start" is of a root in memory: an initrd's, or a guest's own."""
    return text.split()[1:] in (["rootfs"], ["tmpfs"], ["ramfs"])


def is_left(text: str) -> bool:
    """Whether the section "root end" says that the first process has another root now."""
    return text.split()[:1] == ["1"]


@dataclass(frozen=True, slots=True)
class Glance:
    """The section "look": what the end of a recording is decided by. ``idle`` is the idle time of
    the guest's processors on average, in seconds; ``in_initrd``: the first process has its first
    root; ``activity`` changes with every event; ``system``: what systemctl says, "" without
    systemd."""

    idle: float
    in_initrd: bool
    activity: str
    system: str


_LOOK = re.compile(r"([0-9]{1,12}(?:\.[0-9]{1,9})?) ([0-9]{1,6}) ([01]) ([0-9]{1,20}) ?(.*)")


def glance(text: str) -> Glance | None:
    """Read the section "look"; None: damaged."""
    found = _LOOK.fullmatch(text)
    if found is None or not _STATE.fullmatch(found[5]):
        return None
    idle = float(found[1]) / max(1, int(found[2]))
    return Glance(idle, found[3] == "0", found[4], found[5])


def number(text: str) -> int | None:
    """The number that is TEXT; None: it is none."""
    return int(text) if _NUMBER.fullmatch(text) else None


def _numbers(line: str, count: int) -> list[int]:
    words = line.split()
    if len(words) != count or not all(map(_NUMBER.fullmatch, words)):
        raise ValueError(f"{count} numbers were expected")
    return [int(word) for word in words]
