# SPDX-License-Identifier: GPL-2.0-or-later
"""Runs the BPF programs on functions of a C library, in this process, on this kernel.

A program for kprobes can be attached to a uprobe. The registers are those of user space, where the
programs read no memory: every name is empty.
"""

from __future__ import annotations

import ctypes as ct
import mmap
import os
import platform
import struct
import subprocess
from pathlib import Path

from virtio_trace.recording.events import Event
from virtio_trace.tracer.bpf import wire
from virtio_trace.tracer.bpf.bytecode import Bytecode
from virtio_trace.tracer.bpf.decoder import Armed, RingDecoder
from virtio_trace.tracer.executor.program import linked
from virtio_trace.tracer.points.point import ProbePoint

PMU = Path("/sys/bus/event_source/devices/uprobe/type")

_NUMBERS = {"x86_64": (321, 298), "aarch64": (280, 241)}  # bpf, perf_event_open
_MAP_CREATE, _MAP_LOOKUP, _PROG_LOAD, _LINK_CREATE = 0, 1, 5, 28  # enum bpf_cmd
_KPROBE = 2  # enum bpf_prog_type
_PERF_EVENT = 41  # enum bpf_attach_type
_IOC_ENABLE, _IOC_SET_BPF = 0x2400, 0x40042408  # PERF_EVENT_IOC_*
_LIBC = ct.CDLL(None, use_errno=True)
_RING = wire.MAPS[0].entries


def usable() -> bool:
    """Whether this kernel and this user can do it."""
    return os.geteuid() == 0 and PMU.exists() and platform.machine() in _NUMBERS


class Uprobes:
    """The programs of CODE attached to functions of LIBRARY; ``events`` is what they sent."""

    def __init__(self, code: Bytecode, library: Path, points: list[ProbePoint]) -> None:
        self._code, self._library, self._points = code, library, points
        self._open: list[int] = []
        self._loaded: dict[tuple[str, int | None], int] = {}
        sizes = [(spec.type, spec.key_size, spec.value_size, spec.entries) for spec in wire.MAPS]
        self._maps = [self._bpf(_MAP_CREATE, struct.pack("<4I", *size)) for size in sizes]
        names = subprocess.run(["nm", "-D", library], check=True, capture_output=True, text=True)
        words = [line.split() for line in names.stdout.splitlines()]
        self._symbols = {word[2]: int(word[0], 16) for word in words if len(word) == 3}
        self._ring = mmap.mmap(
            self._maps[0], mmap.PAGESIZE + 2 * _RING, prot=mmap.PROT_READ, offset=mmap.PAGESIZE
        )
        self._read = 0
        self._decoder = RingDecoder([Armed(point, point.name, None) for point in points])

    def attach(self, function: str, point: ProbePoint) -> None:
        """Arm POINT on FUNCTION of the library, entry and return."""
        number = self._points.index(point)
        cookie = number | point.shape(False) << 32
        for place, program in enumerate(point.programs()):
            event = self._perf_event(self._symbols[function], returns=place == 1)
            loaded = self._load(program, None if self._code.cookie else cookie)
            if self._code.cookie:
                link = struct.pack("<IIIIQ", loaded, event, _PERF_EVENT, 0, cookie)
                self._bpf(_LINK_CREATE, link)
            else:
                self._checked(_LIBC.ioctl(event, ct.c_ulong(_IOC_SET_BPF), loaded))
            self._checked(_LIBC.ioctl(event, ct.c_ulong(_IOC_ENABLE), 0))

    def records(self) -> list[bytes]:
        """The records that came since the last call."""
        (end,) = struct.unpack_from("<Q", self._ring, 0)
        found = []
        while self._read < end:
            at = mmap.PAGESIZE + self._read % _RING
            size = struct.unpack_from("<I", self._ring, at)[0] & 0x3FFFFFFF
            found.append(self._ring[at + 8 : at + 8 + size])
            self._read += size + 15 & ~7
        return found

    def events(self) -> list[Event]:
        """The events that came since the last call."""
        decoded = map(self._decoder.decode, self.records())
        return [event for event in decoded if event is not None]

    def lost(self) -> int:
        """Events that had no room in the ring."""
        key, value = ct.c_uint32(0), (ct.c_uint64 * 2)()
        table = self._maps[wire.map_number("COUNT") - 1]
        attributes = struct.pack("<IIQQQ", table, 0, ct.addressof(key), ct.addressof(value), 0)
        attr = ct.create_string_buffer(attributes, 128)
        number = _NUMBERS[platform.machine()][0]
        self._checked(_LIBC.syscall(number, _MAP_LOOKUP, attr, 128))
        return value[0]

    def close(self) -> None:
        """Detach everything."""
        self._ring.close()
        while self._open:
            os.close(self._open.pop())

    def _load(self, program: str, point: int | None) -> int:
        key = program, point
        if key not in self._loaded:
            both = (point & 0xFFFFFFFF, point >> 32) if point is not None else None
            text = linked(self._code.functions[program], self._maps, both)
            code, license_ = ct.create_string_buffer(text, len(text)), ct.c_char_p(b"GPL")
            words = ct.addressof(code), ct.cast(license_, ct.c_void_p).value
            self._loaded[key] = self._bpf(
                _PROG_LOAD, struct.pack("<IIQQ", _KPROBE, len(text) // 8, *words)
            )
        return self._loaded[key]

    def _perf_event(self, offset: int, *, returns: bool) -> int:
        path = ct.create_string_buffer(os.fsencode(self._library))
        # struct perf_event_attr: config bit 0 is retprobe, config1 the path, config2 the offset.
        text = struct.pack(
            "<IIQQQQQIIQQ", int(PMU.read_text()), 112, returns, 1, 0, 0, 0, 0, 0,
            ct.addressof(path), offset,
        )  # fmt: skip
        number = _NUMBERS[platform.machine()][1]
        this, any_cpu, no_group, cloexec = 0, -1, -1, 8
        attr = ct.create_string_buffer(text, 112)
        return self._kept(_LIBC.syscall(number, attr, this, any_cpu, no_group, cloexec))

    def _bpf(self, command: int, attributes: bytes) -> int:
        attr = ct.create_string_buffer(attributes, 128)
        return self._kept(_LIBC.syscall(_NUMBERS[platform.machine()][0], command, attr, 128))

    def _kept(self, descriptor: int) -> int:
        self._open.append(self._checked(descriptor))
        return descriptor

    @staticmethod
    def _checked(result: int) -> int:
        if result < 0:
            raise OSError(ct.get_errno(), os.strerror(ct.get_errno()))
        return result
