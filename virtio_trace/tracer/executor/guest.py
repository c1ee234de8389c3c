# SPDX-License-Identifier: GPL-2.0-or-later
"""The executor in a guest: arms a plan before the first module, and sends frames until the end.

first.py starts it, in a child of the guest's first process. What it sees of the guest it sees
through mounts of its own that have no path (syscalls.mounted), so nothing in the guest meets them,
whatever it mounts, moves or leaves. What it sends: frames of ring records, and sections, each a
name, the time and text (tracer/session/guest_sections.py reads them).
"""

from __future__ import annotations

import posix
import select
import time

from virtio_trace.tracer.executor import sysfs, terminal
from virtio_trace.tracer.executor.arming import Executor
from virtio_trace.tracer.executor.frames import FrameEncoder
from virtio_trace.tracer.executor.kernel import mismatch
from virtio_trace.tracer.executor.plan import NO_POINT, Plan, decode
from virtio_trace.tracer.executor.port import PortWriter
from virtio_trace.tracer.executor.state import Log, Root, SystemManager, boot_ring, interrupts, mmio
from virtio_trace.tracer.executor.syscalls import mounted
from virtio_trace.tracer.executor.tree import Tree

POLL_MS = 400
"""A program wakes the executor when the ring fills (bpf/ring.h); this is for what is slow."""

SETTLE_SECONDS = 5.0
"""How long to wait at the end for calls under way: one that has not returned is unknown."""

END = b"end\n"
"""What the host sends to end the recording."""

_LOOK_SECONDS = 1.0

_LIST_SECONDS = 1.0
"""How long after a module was loaded the list of kprobes is read: several come in a row."""

_RELEASE_MS = 30_000
"""How long to wait at the end for the host's word, any byte."""

_OVERLAP_SECONDS = 0.15
"""Before the boot's ring is read: both it and the program see what happens in this time, by which
the host pairs their events (tracer/ftrace/merge.py, SLACK_NS). The guest idles meanwhile."""


class Mounts:
    """File systems of the guest's kernel; one that cannot be mounted is empty."""

    def __init__(self) -> None:
        self.dev = _tree("devtmpfs")
        self.proc = _tree("proc")
        self.sys = _tree("sysfs")
        self.tracefs = _tree("tracefs")
        self.debugfs = _tree("debugfs")
        self.securityfs = _tree("securityfs")


def _tree(file_system: str) -> Tree:
    try:
        return Tree(mounted(file_system))
    except OSError:
        return Tree(None)


class Guest:
    """One recording. PORT is the serial port's name. READY is a descriptor that is closed once
    everything is armed. COMMAND: read the status of the guest's command from it; its end, or the
    host's word, ends the recording; None: only the host's word does."""

    def __init__(self, plan: Plan, port: str, ready: int, command: int | None) -> None:
        self._mounts = Mounts()
        self._plan = plan
        self._ready = ready
        self._command = command
        self._port = _open_port(self._mounts, port)
        self._writer = PortWriter(self._port)
        self._frames = FrameEncoder()
        self._root = Root(self._mounts.proc)
        self._manager = SystemManager(self._mounts.proc)
        self._log = Log(self._mounts.dev)
        self._heard = b""
        self._looked = 0.0
        self._list_at: float | None = None

    def run(self) -> None:
        """Arm, let the first process go on, send until the end. Raises OSError, ValueError."""
        wrong = mismatch(self._plan, self._mounts.sys)
        if wrong:
            self._section("failed", wrong)
            return
        try:
            executor = self._start()
        except OSError as error:
            self._section("lockdown", self._mounts.securityfs.read("lockdown") or b"")
            self._section("failed", f"{error.filename}: {error.strerror}")
            return
        posix.close(self._ready)
        status = self._follow(executor)
        self._finish(executor, status)

    def fail(self, error: Exception) -> None:
        """Send why there is no more to send."""
        self._section("failed", str(error))

    def close(self) -> None:
        """Send what is left, and wait until the host has heard it and looked at the devices.

        The port stays open: its last close would reset it.
        """
        self._writer.write(self._frames.end())
        self._writer.close()
        terminal.drain(self._port)
        poll = select.poll()
        poll.register(self._port, select.POLLIN)
        poll.poll(_RELEASE_MS)

    # -- arming

    def _start(self) -> Executor:
        tracefs = self._mounts.tracefs.descriptor
        if tracefs is None:
            raise OSError(2, "it cannot be mounted", "tracefs")
        since = time.monotonic_ns()
        executor = Executor(self._plan, tracefs)
        armed = []
        refused = []
        for point in self._plan.points:
            try:
                known = executor.arm(point)
                armed.append(f"{point.number} {time.monotonic_ns()} {known}")
            except OSError as error:
                if point.number == NO_POINT:
                    raise
                refused.append(f"{point.number} {error.filename}: {error.strerror}")
        self._section("armed", "\n".join((f"{since} {time.monotonic_ns()}", *armed)))
        self._section("refused", "\n".join(refused))
        if self._plan.boot_group:
            time.sleep(_OVERLAP_SECONDS)
            boot_ring(self._mounts.tracefs, self._plan.boot_group, self._section)
        self._state("start")
        self._send(executor)
        self._section("ready", "")
        return executor

    def _state(self, when: str) -> None:
        """What the kernel has now, at the start or the end of a recording."""
        mounts = self._mounts
        self._section(f"kprobes {when}", mounts.debugfs.read("kprobes/list"))
        self._section(f"modules {when}", mounts.proc.read("modules"))
        self._section(f"sysfs {when}", sysfs.lines(mounts.sys))
        self._section(f"iomem {when}", mmio(mounts.proc))
        self._section(f"interrupts {when}", interrupts(mounts.proc))
        self._section(f"deferred {when}", mounts.debugfs.read("devices_deferred"))
        self._section(f"modprobe {when}", self._root.modprobe())
        self._section(f"root {when}", self._root.text())
        if when == "start":
            self._section("initrd", self._root.has(self._plan.release, self._plan.files))
            self._section("cmdline", mounts.proc.read("cmdline"))
            self._section("lockdown", mounts.securityfs.read("lockdown"))

    # -- while it runs

    def _follow(self, executor: Executor) -> int | None:
        """Send events until the end. The status of the guest's command, None: it did not end."""
        poll = select.poll()
        for descriptor in (executor.ring_descriptor, self._port, self._command):
            if descriptor is not None:
                poll.register(descriptor, select.POLLIN)
        while True:
            poll.poll(POLL_MS)
            self._send(executor)
            if self._command is None:
                self._look(executor)
            if self._asked():
                return None
            if self._command is not None and (status := self._ended()) is not None:
                return status

    def _send(self, executor: Executor) -> int:
        """Send what the ring has; return the number of records."""
        assert executor.ring is not None
        total = 0
        loaded = False
        while True:
            taken, count = executor.ring.take()
            if not taken:
                break
            self._writer.write(self._frames.add(taken, count))
            loaded = loaded or self._confirms(taken)
            total += count
        if text := self._log.text():
            self._section("kmsg", text)
        now = time.monotonic()
        if loaded and self._list_at is None:
            self._list_at = now + _LIST_SECONDS
        if self._list_at is not None and now >= self._list_at:
            self._list_at = None
            self._section("kprobes loaded", self._mounts.debugfs.read("kprobes/list"))
        if total:
            self._writer.write(self._frames.flush())
        return total

    def _confirms(self, taken: bytes) -> bool:
        """Whether a module was loaded whose probes the plan wants to be confirmed."""
        return any(name in taken for name in self._plan.confirm)

    def _look(self, executor: Executor) -> None:
        """What the host decides the end of a system that is not ours by, once a second."""
        assert executor.ring is not None
        if time.monotonic() - self._looked < _LOOK_SECONDS:
            return
        self._looked = time.monotonic()
        left = self._root.is_left()
        system = self._manager.answer() if left else ""
        idle = (self._mounts.proc.read("uptime") or b"0 0").split()[1].decode()
        text = f"{idle} {posix.cpu_count() or 1} {int(left)} {executor.ring.produced} {system}"
        self._section("look", text)

    def _asked(self) -> bool:
        try:
            self._heard = (self._heard + posix.read(self._port, 64))[-64:]
        except BlockingIOError:
            pass
        return END in self._heard

    def _ended(self) -> int | None:
        """The status that the guest's command wrote; 255 if it died before."""
        assert self._command is not None
        try:
            said = posix.read(self._command, 64).split()
        except BlockingIOError:
            return None
        return int(said[0]) if said and said[0].isdigit() else 255

    # -- the end

    def _finish(self, executor: Executor, status: int | None) -> None:
        self._settle(executor)
        self._section("end", "" if status is None else str(status))
        self._state("end")
        while self._send(executor):  # what led to that state comes before it in the recording
            pass
        self._section("profile", self._mounts.tracefs.read("kprobe_profile"))
        self._section("lost", str(executor.lost()))

    def _settle(self, executor: Executor) -> None:
        """Wait until no module's init runs and no probe is hit for a while."""
        deadline = time.monotonic() + SETTLE_SECONDS
        while time.monotonic() < deadline:
            time.sleep(0.5)
            came = self._send(executor)
            if not came and b" Loading " not in (self._mounts.proc.read("modules") or b""):
                return

    def _section(self, name: str, text: str | bytes | None) -> None:
        """Send TEXT under NAME; nothing for None, which is what cannot be read."""
        if text is not None:
            data = text.encode("utf-8", "backslashreplace") if isinstance(text, str) else text
            head = f"{name}\n{time.monotonic_ns()}\n".encode()
            self._writer.write(self._frames.section(head + data))


def _open_port(mounts: Mounts, name: str) -> int:
    """The serial port NAME, as it carries bytes; empty: the last one on PCI. Raises OSError."""
    if not name:
        links = ((mounts.sys.link(f"class/tty/{tty}") or "", tty) for tty in _serial(mounts.sys))
        name = max((found for found in links if "/pci" in found[0]), default=("", "ttyS?"))[1]
    port = mounts.dev.open(name, posix.O_RDWR)
    if port is None:
        raise OSError(2, "it cannot be opened", name)
    terminal.raw(port)
    return port


def _serial(sys: Tree) -> list[str]:
    return [name for name in sys.list("class/tty") if name.startswith("ttyS")]


def run(folder: str, port: str, ready: int, command: int | None) -> None:
    """Execute the plan in FOLDER. Raises OSError, ValueError: there is no plan, or no port."""
    with open(f"{folder}/plan", "rb") as file:
        plan = decode(file.read())
    guest = Guest(plan, port, ready, command)
    try:
        guest.run()
    except (OSError, ValueError) as error:
        guest.fail(error)
    finally:
        guest.close()
