# SPDX-License-Identifier: GPL-2.0-or-later
"""What the executor sends of a guest besides its events: root, log, manager, boot's ring."""

from __future__ import annotations

import posix
import time

from virtio_trace.tracer.executor.tree import Tree

TYPE_CHECKING = False
if TYPE_CHECKING:  # collections is not among the guest's files
    from collections.abc import Callable

_MODPROBE = ("etc", "run", "usr/local/lib", "usr/lib", "lib")
_MODULES = ("usr/lib/modules", "lib/modules")
_SUFFIXES = ("", ".xz", ".zst", ".gz")
_MOST_CONFIGURATION = 1 << 18
_ASK_SECONDS = 2.0  # an emulated processor takes a tenth of a second for systemctl
_ANSWER_SECONDS = 20.0
_RECORD = 8192
_SEEK_END = 2


class Root:
    """The root of the guest's first process. At first it is an initrd's, or the only one."""

    def __init__(self, proc: Tree) -> None:
        self._proc = proc
        self._first = proc.identity("1/root/.")

    def is_left(self) -> bool:
        """Whether the first process has another root than at first."""
        return self._proc.identity("1/root/.") not in (None, self._first)

    def text(self) -> str:
        """1 or 0: whether it is left; and the type of the file system that is mounted at /."""
        lines = (self._proc.read("1/mounts") or b"").decode("utf-8", "replace").splitlines()
        words = [line.split() for line in lines]
        kind = [word[2] for word in words if len(word) > 2 and word[1] == "/"]
        return f"{int(self.is_left())} {kind[-1] if kind else '-'}"

    def has(self, release: str, files: list[str]) -> str:
        """Which of the module FILES it has, a line each, whatever they are compressed with. An
        initrd keeps their places, but may unpack them."""
        trees: dict[tuple[int, int] | None, str] = {}  # /lib may be a link to /usr/lib
        for folder in _MODULES:
            tree = f"1/root/{folder}/{release}"
            trees.setdefault(self._proc.identity(tree), tree)
        trees.pop(None, None)
        listed: dict[str, list[str]] = {}
        found = []
        for file in files:
            path = file[: file.find(".ko") + 3] if ".ko" in file else file
            folder, _, name = path.rpartition("/")
            for place in [f"{tree}/{folder}" for tree in trees.values()]:
                if place not in listed:
                    listed[place] = self._proc.list(place)
                if any(name + suffix in listed[place] for suffix in _SUFFIXES):
                    found.append(file)
                    break
        return "\n".join(found)

    def modprobe(self) -> str:
        """modprobe's configuration (modprobe.d(5)), as ``bytes PATH HEX`` lines."""
        out = []
        left = _MOST_CONFIGURATION
        for folder in _MODPROBE:
            for name in self._proc.list(f"1/root/{folder}/modprobe.d"):
                if not name.endswith(".conf") or left <= 0:
                    continue
                data = self._proc.read(f"1/root/{folder}/modprobe.d/{name}", left) or b""
                left -= len(data)
                if data and not any(c in name for c in " \n"):
                    out.append(f"bytes /{folder}/modprobe.d/{name} {data.hex()}")
        return "\n".join(out)


class Log:
    """The kernel's log from now on."""

    def __init__(self, dev: Tree) -> None:
        self._file = dev.open("kmsg")
        if self._file is not None:
            posix.lseek(self._file, 0, _SEEK_END)

    def text(self) -> bytes:
        """The records that are new; ``lost`` on a line for those that were overwritten."""
        out = []
        while self._file is not None:
            try:
                record = posix.read(self._file, _RECORD)
            except BrokenPipeError:
                record = b"lost\n"
            except OSError:  # EAGAIN: nothing new
                break
            if not record:
                break
            out.append(record)
        return b"".join(out)


class SystemManager:
    """Asks systemd for its state, in its own root; the answer comes a moment later."""

    def __init__(self, proc: Tree) -> None:
        self._proc = proc
        self._asked = 0.0
        self._child: tuple[int, int] | None = None
        self._answer = ""

    def answer(self) -> str:
        """The last answer of ``systemctl is-system-running``; "": the first process is another."""
        if (self._proc.link("1/exe") or "").rpartition("/")[2] != "systemd":
            return ""
        now = time.monotonic()
        if self._child is not None:
            self._collect(now)
        elif now - self._asked >= _ASK_SECONDS:
            self._asked = now
            self._child = self._ask()
        return self._answer or "unknown"

    def _ask(self) -> tuple[int, int]:
        reader, writer = posix.pipe2(posix.O_CLOEXEC | posix.O_NONBLOCK)
        pid = posix.fork()
        if pid == 0:
            posix._exit(self._become_systemctl(writer))
        posix.close(writer)
        return pid, reader

    def _become_systemctl(self, writer: int) -> int:
        """In the child: systemctl in the root of the first process. WRITER gets its answer."""
        try:
            posix.dup2(writer, 1)
            posix.close(2)
            root = self._proc.open("1/root", posix.O_RDONLY | posix.O_DIRECTORY)
            if root is None:
                return 1
            posix.fchdir(root)
            posix.chroot(".")
            for folder in ("/usr/bin", "/bin"):
                try:
                    posix.execv(f"{folder}/systemctl", ["@systemctl", "is-system-running"])
                except OSError:
                    continue
        except OSError:
            pass
        return 1

    def _collect(self, now: float) -> None:
        assert self._child is not None
        pid, reader = self._child
        done, _ = posix.waitpid(pid, posix.WNOHANG)
        if not done:
            if now - self._asked < _ANSWER_SECONDS:
                return
            posix.kill(pid, 9)
            posix.waitpid(pid, 0)
        try:
            said = posix.read(reader, 256).decode("ascii", "replace").strip()
        except BlockingIOError:
            said = ""
        posix.close(reader)
        self._child = None
        self._answer = said or "unknown"


def mmio(proc: Tree) -> bytes:
    """The lines of /proc/iomem about virtio-mmio devices (LNRO0005 is their id in ACPI)."""
    lines = (proc.read("iomem") or b"").split(b"\n")
    return b"\n".join(line for line in lines if b"LNRO0005" in line or b"virtio" in line)


def interrupts(proc: Tree) -> bytes:
    """The lines of /proc/interrupts about virtio devices."""
    lines = (proc.read("interrupts") or b"").split(b"\n")
    return b"\n".join(line for line in lines if b"virtio" in line)


def boot_ring(tracefs: Tree, group: str, section: Callable[[str, bytes | None], None]) -> None:
    """Send what the kernel recorded of its boot by the events of GROUP (empty: it has none).

    Nothing is disabled or removed: the guest is thrown away. Its events go on while they are read,
    so the counts come before the lines: a hit that was counted and has no line is lost."""
    events = tracefs.read("kprobe_events") or b""
    if not group or f":{group}/".encode() not in events:
        return
    section("boot clock", tracefs.read("trace_clock"))
    section("boot events", events)
    section("boot profile", tracefs.read("kprobe_profile"))
    for name in tracefs.list("per_cpu"):
        section(f"boot stats {name}", tracefs.read(f"per_cpu/{name}/stats"))
    section("boot trace", tracefs.read("trace"))
