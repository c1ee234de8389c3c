# SPDX-License-Identifier: GPL-2.0-or-later
"""Creates the maps and loads and attaches the programs, by libbcc.

The rest of tracer/ sees one small interface: load the program for a probe point, attach it to a
tracefs event, poll for bytes. Another loader could replace this file.
"""

from __future__ import annotations

import ctypes as ct
import os
import platform

from virtio_trace.errors import CannotTraceError
from virtio_trace.tracer.bpf import wire
from virtio_trace.tracer.bpf.bytecode import patched
from virtio_trace.tracer.bpf.compile import bytecode, import_bcc

_KPROBE, _TRACEPOINT = 2, 5  # enum bpf_prog_type
_RECORD = ct.CFUNCTYPE(ct.c_int, ct.c_void_p, ct.c_void_p, ct.c_int)
_NEEDS = "virtio-trace needs Linux 5.8 or later with CONFIG_BPF_SYSCALL, and root"


class Program:
    """The program with its maps; loaded functions and attachments live until close().

    Every method raises CannotTraceError with the message of the kernel or the compiler.
    """

    def __init__(self) -> None:
        self._code = bytecode(platform.machine(), cookie=False)
        self._library = import_bcc().library
        self._descriptors: list[int] = []
        self._maps = [self._create(spec) for spec in wire.MAPS]
        self._records: list[bytes] = []
        self._receive = _RECORD(self._received)  # kept: C code calls it
        events = self._maps[wire.map_number("EVENTS") - 1]
        self._ring = self._library.bpf_new_ringbuf(events, self._receive, None)

    def set_offsets(self, offsets: wire.WireOffsets) -> None:
        """Set where the members of this kernel's structs are."""
        table = self._maps[wire.map_number("OFFSETS") - 1]
        self._library.bpf_update_elem(table, ct.byref(ct.c_uint32(0)), ct.byref(offsets), 0)

    def attach_probe(
        self, point: tuple[int, int], group: str, event: str, functions: tuple[str, ...]
    ) -> None:
        """Attach FUNCTIONS to GROUP/EVENT and GROUP/EVENT_ret.

        POINT is a probe point's number and its shape (ProbePoint.shape).
        """
        wire.require_room(point[0])
        number, shape = point
        for function, name in zip(functions, (event, f"{event}_ret"), strict=False):
            program = self._load(function, _KPROBE, number | shape << 32, event)
            self._attach(program, group, name)

    def attach_module_load(self) -> None:
        """Attach to tracepoint module:module_load."""
        program = self._load("vt_module_load", _TRACEPOINT, None, "module:module_load")
        self._attach(program, "module", "module_load")

    def poll(self, milliseconds: int) -> list[bytes]:
        """All records; wait for at most MILLISECONDS, or until many have come."""
        self._library.bpf_poll_ringbuf(self._ring, milliseconds)
        # Most records do not wake us.
        self._library.bpf_consume_ringbuf(self._ring)
        taken, self._records = self._records, []
        return taken

    def lost(self) -> int:
        """Events that had no room in the ring so far."""
        count = (ct.c_uint64 * 2)()
        table = self._maps[wire.map_number("COUNT") - 1]
        self._library.bpf_lookup_elem(table, ct.byref(ct.c_uint32(0)), ct.byref(count))
        return int(count[0])

    def close(self) -> None:
        """Detach everything; records still in the ring are dropped."""
        if self._ring:
            self._library.bpf_free_ringbuf(self._ring)
            self._ring = 0
        while self._descriptors:
            os.close(self._descriptors.pop())

    def _received(self, _context: object, data: int, size: int) -> int:
        # ctypes ignores exceptions raised here: copy the bytes and do nothing else.
        self._records.append(ct.string_at(data, size))
        return 0

    def _create(self, spec: wire.MapSpec) -> int:
        name, sizes = f"vt_{spec.name.lower()}".encode(), (spec.key_size, spec.value_size)
        made = self._library.bcc_create_map(spec.type, name, *sizes, spec.entries, 0)
        return self._keep(made, f"cannot create BPF map {spec.name}")

    def _load(self, function: str, kind: int, point: int | None, event: str) -> int:
        code = patched(self._code.functions[function], self._maps, point)
        name = function.encode()
        made = self._library.bcc_prog_load(kind, name, code, len(code), b"GPL", 0, 0, None, 0)
        return self._keep(made, f"the kernel refused the BPF program for {event}")

    def _attach(self, program: int, group: str, event: str) -> None:
        made = self._library.bpf_attach_tracepoint(program, group.encode(), event.encode())
        self._keep(made, f"cannot attach to {group}/{event}")

    def _keep(self, descriptor: int, what: str) -> int:
        if descriptor < 0:
            raise CannotTraceError(f"{what}: {os.strerror(ct.get_errno())}", _NEEDS)
        self._descriptors.append(descriptor)
        return descriptor
