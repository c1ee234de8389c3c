# SPDX-License-Identifier: GPL-2.0-or-later
"""Carries out a plan on the running kernel: maps, programs, tracefs events, their attachment.

All that is attached hangs on descriptors of this process, so it ends with it. Definitions in
tracefs do not: whoever must not leave any removes them (tracer/session/watcher.py).
"""

from __future__ import annotations

import errno
import posix
import select

from virtio_trace.tracer.executor import syscalls
from virtio_trace.tracer.executor.plan import KPROBE, NO_POINT, Event, Plan, Point
from virtio_trace.tracer.executor.program import linked
from virtio_trace.tracer.executor.ring import Ring


class Executor:
    """PLAN in the kernel; TRACEFS is a descriptor of that folder, which stays the caller's.

    Creating it makes maps and loads programs. Raises OSError, ValueError.
    """

    def __init__(self, plan: Plan, tracefs: int) -> None:
        self._plan = plan
        self._tracefs = tracefs
        self._kept: list[int] = []
        self._control: int | None = None
        self.ring: Ring | None = None
        syscalls.unlimited_memlock()
        try:
            self._maps = [
                self._keep(syscalls.map_create(one.kind, one.key, one.value, one.entries))
                for one in plan.maps
            ]
            for number, key, value in plan.values:
                syscalls.map_update(self._maps[number - 1], key, value)
            self._loaded = [self._load_once(number) for number in range(len(plan.programs))]
            self.ring = Ring(self._maps[plan.ring - 1], plan.maps[plan.ring - 1].entries)
        except BaseException:
            self.close()
            raise

    @property
    def ring_descriptor(self) -> int:
        """To be polled: readable when a program asks for it (BPF_RB_FORCE_WAKEUP)."""
        return self._maps[self._plan.ring - 1]

    def arm(self, point: Point) -> int:
        """Attach to POINT's events, and define those that are not there: all or none.

        Returns how many were there. Raises OSError; ``filename`` says which command, event or
        verifier's complaint.
        """
        defined: list[str] = []
        known = 0
        before = len(self._kept)
        try:
            found = [(event, self._identity(event.known)) for event in point.events]
            for event, identity in found:
                if identity is None and event.line:
                    self._write(event.line)
                    defined.append(event.place)
            for event, identity in found:
                known += identity is not None
                self._attach(point, event, identity or self._identity(event.place))
        except OSError:
            while len(self._kept) > before:
                posix.close(self._kept.pop())
            for place in defined:
                try:
                    self._write(f"-:{place}")
                except OSError:
                    pass  # busy for a moment: it is removed with its group
            raise
        return known

    def take(self, milliseconds: int) -> tuple[bytes, int]:
        """What the ring has (Ring.take); wait for at most MILLISECONDS, or until a program wakes
        us."""
        assert self.ring is not None
        poll = select.poll()
        poll.register(self.ring_descriptor, select.POLLIN)
        poll.poll(milliseconds)
        return self.ring.take()

    def lost(self) -> int:
        """Events that found no room in the ring so far: the first member of struct vt_count."""
        number = self._plan.count
        value = syscalls.map_lookup(
            self._maps[number - 1], bytes(4), self._plan.maps[number - 1].value
        )
        return int.from_bytes(value[:8], "little")

    def close(self) -> None:
        """Detach everything; what is still in the ring is dropped."""
        if self.ring is not None:
            self.ring.close()
            self.ring = None
        while self._kept:
            posix.close(self._kept.pop())
        if self._control is not None:
            posix.close(self._control)
            self._control = None

    def _keep(self, descriptor: int) -> int:
        self._kept.append(descriptor)
        return descriptor

    def _load_once(self, number: int) -> int | None:
        """A program that serves every point; None: one is loaded for each."""
        program = self._plan.programs[number]
        if program.kind == KPROBE and not self._plan.cookie:
            return None
        code = linked(program.code, self._maps)
        return self._keep(syscalls.prog_load(program.kind, code))

    def _attach(self, point: Point, event: Event, identity: int | None) -> None:
        place = event.place or event.known
        if identity is None:
            raise OSError(errno.ENOENT, posix.strerror(errno.ENOENT), f"attach to {place}")
        program = self._loaded[event.program]
        if program is None:
            each = self._plan.programs[event.program]
            code = linked(each.code, self._maps, (point.number, point.shape))
            program = self._keep(syscalls.prog_load(each.kind, code))
        try:
            perf = self._keep(syscalls.perf_open(identity))
            if self._plan.cookie and point.number != NO_POINT:
                cookie = point.number | point.shape << 32
                self._keep(syscalls.link_create(program, perf, cookie))
            else:
                syscalls.perf_set_bpf(perf, program)
            syscalls.perf_enable(perf)
        except OSError as error:
            raise OSError(error.errno, error.strerror, f"attach to {place}") from None

    def _identity(self, place: str) -> int | None:
        """The id of a tracefs event (Documentation/trace/events.rst); None: there is none, or PLACE
        is empty.

        The folders of events that were defined at boot may be missing: the initcall that makes them
        races with that of tracefs.
        """
        if not place:
            return None
        try:
            flags = posix.O_RDONLY | posix.O_CLOEXEC
            file = posix.open(f"events/{place}/id", flags, dir_fd=self._tracefs)
        except OSError:
            return None
        try:
            return int(posix.read(file, 32))
        finally:
            posix.close(file)

    def _write(self, command: str) -> None:
        """One command for kprobe_events: the kernel takes a write as one or more whole lines."""
        try:
            if self._control is None:
                flags = posix.O_WRONLY | posix.O_APPEND | posix.O_CLOEXEC
                self._control = posix.open("kprobe_events", flags, dir_fd=self._tracefs)
            posix.write(self._control, command.encode() + b"\n")
        except OSError as error:
            raise OSError(error.errno, error.strerror, command) from None
