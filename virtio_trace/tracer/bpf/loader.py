# SPDX-License-Identifier: GPL-2.0-or-later
"""Loads bpf/probe.bpf.c with BCC; the only importer of bcc.

The rest of tracer/ sees one small interface: load the program for a probe point, attach it to a
tracefs event, poll for bytes. Another loader could replace this file.
"""

from __future__ import annotations

import contextlib
import ctypes as ct
import os
import re
import struct
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from virtio_trace.bpf_source import bpf_folder
from virtio_trace.errors import CannotTraceError
from virtio_trace.tracer.bpf import wire

if TYPE_CHECKING:
    import bcc

PROBE_POINT = 0x76742D70726F6265
"""The constant in shape.h, probe_point(), that is replaced for each load."""

_LD_IMM64 = 0x18  # BPF_LD | BPF_IMM | BPF_DW: two instructions, each with half of the constant
_INCLUDE = re.compile(r'^#include "(\w+\.h)"$', re.MULTILINE)


class Program:
    """The compiled program with its maps; loaded functions and attachments live until close().

    Every method raises CannotTraceError with the message of the kernel or the compiler. No other
    thread may write to file descriptor 2 meanwhile: BCC's messages are caught there.
    """

    def __init__(self) -> None:
        found = import_bcc()
        folder = bpf_folder()
        # BCC takes kernel headers from here; ours are all that the program needs.
        os.environ["BCC_KERNEL_SOURCE"] = str(folder)
        with _complaints("the BPF program cannot be built"), working_in(folder):
            # BCC's default, -O2, makes the same program and takes longer.
            self._bpf = found.bpf(text=program_text(folder).encode(), cflags=["-O1"])
        self._library = found.library
        self._kprobe, self._tracepoint = found.bpf.KPROBE, found.bpf.TRACEPOINT
        self._places: dict[bytes, list[int]] = {}
        self._records: list[bytes] = []
        self._descriptors: list[int] = []
        self._ring = self._bpf.get_table(b"events")  # holds the callback, which C code calls
        self._ring.open_ring_buffer(self._receive)
        # struct vt_count
        self._count = self._bpf.get_table(b"count", ct.c_uint32, ct.c_uint64 * 2)

    def set_offsets(self, offsets: wire.WireOffsets) -> None:
        """Set where the members of this kernel's structs are."""
        table = self._bpf.get_table(b"offsets", ct.c_uint32, wire.WireOffsets)
        table[ct.c_uint32(0)] = offsets

    def attach_probe(
        self, point: tuple[int, int], group: str, event: str, functions: tuple[str, ...]
    ) -> None:
        """Attach FUNCTIONS to GROUP/EVENT and GROUP/EVENT_ret.

        POINT is a probe point's number and its shape (ProbePoint.shape).
        """
        wire.require_room(point[0])
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
        """All records; wait for at most MILLISECONDS, or until many have come."""
        self._bpf.ring_buffer_poll(milliseconds)
        # Most records do not wake us.
        self._bpf.ring_buffer_consume()
        taken, self._records = self._records, []
        return taken

    def lost(self) -> int:
        """Events that had no room in the ring so far."""
        return int(self._count[ct.c_uint32(0)][0])

    def close(self) -> None:
        """Detach everything; records still in the ring are dropped."""
        while self._descriptors:
            os.close(self._descriptors.pop())
        self._bpf.cleanup()

    def _receive(self, _context: object, data: int, size: int) -> None:
        # ctypes ignores exceptions raised here: copy the bytes and do nothing else.
        self._records.append(ct.string_at(data, size))

    def _load(self, function: str, kind: int, point: tuple[int, int] | None) -> int:
        name = function.encode()
        if point is not None:
            self._patch(name, point)
        # BCC caches a function by its name, but each load here is another program.
        self._bpf.funcs.pop(name, None)
        descriptor = int(self._bpf.load_func(name, kind).fd)
        self._bpf.funcs.pop(name)
        self._descriptors.append(descriptor)
        return descriptor

    def _patch(self, name: bytes, point: tuple[int, int]) -> None:
        """Write the point's number and shape into the program's code."""
        start = self._library.bpf_function_start(self._bpf.module, name)
        size = self._library.bpf_function_size(self._bpf.module, name)
        code = (ct.c_char * size).from_address(start)
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


def program_text(folder: Path) -> str:
    """probe.bpf.c with the headers beside it in place of their #include lines, each once.

    BCC rewrites calls on maps in its main file only; in a header they would compile to code that
    the verifier refuses.
    """
    seen: set[str] = set()

    def expand(name: str) -> str:
        if name in seen:
            return ""
        seen.add(name)
        text = (folder / name).read_text(encoding="utf-8")
        return _INCLUDE.sub(lambda match: expand(match[1]), text)

    return expand("probe.bpf.c")


@contextlib.contextmanager
def working_in(folder: Path) -> Iterator[None]:
    """Make FOLDER the working directory. clang looks for headers below it: a kernel tree, or
    somebody's files, must not be found there."""
    before = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.chdir(folder)
        yield
    finally:
        os.fchdir(before)
        os.close(before)


def _constants(code: bytes) -> list[int]:
    """Where CODE loads PROBE_POINT: offsets in bytes."""
    low, high = PROBE_POINT & 0xFFFFFFFF, PROBE_POINT >> 32
    return [
        place
        for place in range(0, len(code) - 15, 8)
        if code[place] == _LD_IMM64
        and struct.unpack_from("<I", code, place + 4)[0] == low
        and struct.unpack_from("<I", code, place + 12)[0] == high
    ]


class Bcc(NamedTuple):
    """What is used of the bcc module (stubs/bcc)."""

    bpf: type[bcc.BPF]
    library: bcc.Library


def import_bcc() -> Bcc:
    """The distribution's bcc module. Raises CannotTraceError if there is none, or another one."""
    hint = "apt install python3-bpfcc (Debian, Ubuntu) or dnf install python3-bcc (Fedora)"
    try:
        import bcc  # noqa: PLC0415 - takes a third of a second, and only recording needs it
    except ImportError as error:
        raise CannotTraceError(
            f"BCC cannot be imported by {sys.executable}: {error}", hint
        ) from error
    if "BPF" not in vars(bcc):
        raise CannotTraceError(
            "the imported 'bcc' is not BCC: PyPI has another package of that name",
            f"pip uninstall bcc; {hint}",
        )
    return Bcc(bcc.BPF, bcc.lib)


@contextlib.contextmanager
def _complaints(what: str) -> Iterator[None]:
    """BCC prints messages and raises bare exceptions: turn both into CannotTraceError."""
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
