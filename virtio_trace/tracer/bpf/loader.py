# SPDX-License-Identifier: GPL-2.0-or-later
"""Loads bpf/probe.bpf.c with BCC; the only importer of bcc.

The rest of tracer/ sees one small interface: load the program for a probe point, attach it to a
tracefs event, give bytes. Another loader can take this file's place.
"""

from __future__ import annotations

import contextlib
import ctypes as ct
import os
import struct
import sys
import tempfile
from collections.abc import Iterator
from typing import Any

from virtio_trace.bpf_source import bpf_folder
from virtio_trace.errors import CannotTraceError
from virtio_trace.tracer.bpf import wire

PROBE_POINT = 0x76742D70726F6265
"""The constant in probe.bpf.c's probe_point() that a load replaces."""

_LD_IMM64 = 0x18  # BPF_LD | BPF_IMM | BPF_DW: two instructions, the constant's halves in each


class Program:
    """The compiled program with its maps; loaded functions and attachments live until close().

    Every method raises CannotTraceError with the kernel's or the compiler's word.
    """

    def __init__(self) -> None:
        bpf = import_bcc()
        folder = bpf_folder()
        # BCC takes kernel headers from here; ours are all that the program needs.
        os.environ["BCC_KERNEL_SOURCE"] = str(folder)
        with _complaints("the BPF program cannot be built"):
            self._bpf = bpf.BPF(
                src_file=str(folder / "probe.bpf.c").encode(),
                # BCC's -O2 makes the same program, and takes longer for it.
                cflags=[f"-I{folder}", "-O1"],
            )
        self._library = bpf.lib
        self._kprobe, self._tracepoint = bpf.BPF.KPROBE, bpf.BPF.TRACEPOINT
        self._records: list[bytes] = []
        self._descriptors: list[int] = []
        self._ring = self._map("events")  # holds the callback, which C code will call
        self._ring.open_ring_buffer(self._take)
        self._count = self._map("count", ct.c_uint64 * 2)  # struct vt_count

    def set_offsets(self, offsets: wire.WireOffsets) -> None:
        """Where the members of this kernel's structs are."""
        self._map("offsets", wire.WireOffsets)[ct.c_uint32(0)] = offsets

    def attach_probe(
        self, point: tuple[int, int], group: str, event: str, functions: tuple[str, ...]
    ) -> None:
        """Attach FUNCTIONS, for a POINT's number and shape (see points/shape.py), to GROUP/EVENT
        and GROUP/EVENT_ret."""
        for function, name in zip(functions, (event, f"{event}_ret"), strict=False):
            with _complaints(f"the kernel refused the BPF program for {event}"):
                program = self._load(function, self._kprobe, point)
                self._attach(program, group, name)

    def attach_module_load(self) -> None:
        """Attach to tracepoint module:module_load."""
        with _complaints("the kernel refused the BPF program for module:module_load"):
            program = self._load("vt_module_load", self._tracepoint, None)
            self._attach(program, "module", "module_load")

    def poll(self, milliseconds: int) -> list[bytes]:
        """Wait so long, or till many have come, and take all records there are."""
        self._bpf.ring_buffer_poll(milliseconds)
        # What did not wake us is there all the same.
        self._bpf.ring_buffer_consume()
        taken, self._records = self._records, []
        return taken

    def lost(self) -> int:
        """Records that found no room in the ring so far."""
        return int(self._count[ct.c_uint32(0)][0])

    def close(self) -> None:
        """Detach everything; the records that are in the ring are gone."""
        while self._descriptors:
            os.close(self._descriptors.pop())
        self._bpf.cleanup()

    def _take(self, _context: object, data: int, size: int) -> None:
        # ctypes swallows what is raised here: copy the bytes and nothing else.
        self._records.append(ct.string_at(data, size))

    def _map(self, name: str, leaf: Any = None) -> Any:
        return self._bpf.get_table(name.encode(), ct.c_uint32 if leaf else None, leaf)

    def _load(self, function: str, kind: int, point: tuple[int, int] | None) -> int:
        name = function.encode()
        if point is not None:
            self._patch(name, point)
        # BCC keeps a function by its name; each load here is another program.
        self._bpf.funcs.pop(name, None)
        descriptor = int(self._bpf.load_func(name, kind).fd)
        self._bpf.funcs.pop(name)
        self._descriptors.append(descriptor)
        return descriptor

    def _patch(self, name: bytes, point: tuple[int, int]) -> None:
        """Put the point's number and shape into the program, as a BPF cookie is given to one."""
        start = self._library.bpf_function_start(self._bpf.module, name)
        size = self._library.bpf_function_size(self._bpf.module, name)
        code = (ct.c_char * size).from_address(start)
        if not hasattr(self, "_places"):
            self._places: dict[bytes, list[int]] = {}
        if name not in self._places:
            self._places[name] = _constants(bytes(code))
            if not self._places[name]:
                raise CannotTraceError(f"{name.decode()} has no place for a probe point's number")
        for place in self._places[name]:
            struct.pack_into("<I", code, place + 4, point[0])
            struct.pack_into("<I", code, place + 12, point[1])

    def _attach(self, program: int, group: str, event: str) -> None:
        descriptor = self._library.bpf_attach_tracepoint(program, group.encode(), event.encode())
        if descriptor < 0:
            reason = os.strerror(ct.get_errno())
            raise CannotTraceError(f"cannot attach to {group}/{event}: {reason}")
        self._descriptors.append(descriptor)


def _constants(code: bytes) -> list[int]:
    low, high = PROBE_POINT & 0xFFFFFFFF, PROBE_POINT >> 32
    return [
        place
        for place in range(0, len(code) - 15, 8)
        if code[place] == _LD_IMM64
        and struct.unpack_from("<I", code, place + 4)[0] == low
        and struct.unpack_from("<I", code, place + 12)[0] == high
    ]


def import_bcc() -> Any:
    """The distribution's bcc module. Raises CannotTraceError where it is not, or is another one."""
    hint = "apt install python3-bpfcc (Debian, Ubuntu) or dnf install python3-bcc (Fedora)"
    try:
        import bcc  # noqa: PLC0415 - it takes a third of a second, and only recording needs it
    except ImportError as error:
        raise CannotTraceError(
            f"BCC cannot be imported by {sys.executable}: {error}", hint
        ) from error
    if not hasattr(bcc, "BPF"):
        raise CannotTraceError(
            "the imported 'bcc' is not BCC: PyPI has another package of that name",
            f"pip uninstall bcc; {hint}",
        )
    return bcc


@contextlib.contextmanager
def _complaints(what: str) -> Iterator[None]:
    """BCC prints to the terminal and raises bare exceptions: keep its last line for ours."""
    saved = os.dup(2)
    with tempfile.TemporaryFile() as said:
        os.dup2(said.fileno(), 2)
        try:
            yield
        except CannotTraceError:
            raise
        except Exception as error:  # BCC raises Exception itself
            said.seek(0)
            lines = said.read().decode(errors="replace").split("\n")
            detail = next((line for line in lines if "error" in line.lower()), "") or str(error)
            raise CannotTraceError(
                f"{what}: {detail.strip()}",
                "virtio-trace needs Linux 5.8 or later with CONFIG_BPF_SYSCALL, and root",
            ) from error
        finally:
            os.dup2(saved, 2)
            os.close(saved)
