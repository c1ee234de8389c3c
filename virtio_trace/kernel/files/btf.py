# SPDX-License-Identifier: GPL-2.0-or-later
"""Sizes and member offsets of kernel structs, from the kernel's own BTF.

The only user of libbpf (its ``btf__*`` functions, src/btf.h), which libbpfcc depends on. The types
are those of include/uapi/linux/btf.h. Where both the kernel's BTF and a module's have a name, the
kernel's is used: modules of 6.16 to 7.2 carry copies of core structs.
"""

from __future__ import annotations

import ctypes
import functools
import os
import weakref
from pathlib import Path
from typing import Any, NamedTuple

from virtio_trace.errors import BadInputError, CannotTraceError

RUNNING = Path("/sys/kernel/btf")
MAX_BYTES = 256 << 20
"""Most bytes of BTF that are read (Debian's kernels have 3 to 8 MB)."""

_PTR, _STRUCT, _UNION, _FUNC_PROTO = 2, 4, 5, 13
_MODIFIERS = (8, 9, 10, 11, 18)  # typedef, volatile, const, restrict, type_tag
_MAX_DEPTH = 32
_NO_BTF = "needs a kernel with CONFIG_DEBUG_INFO_BTF=y (every Debian kernel since 11 has it)"


class _Type(ctypes.Structure):
    """struct btf_type (include/uapi/linux/btf.h)."""

    _fields_ = (
        ("name_off", ctypes.c_uint32),
        ("info", ctypes.c_uint32),
        ("size_or_type", ctypes.c_uint32),
    )


class _RawMember(ctypes.Structure):
    """struct btf_member (include/uapi/linux/btf.h)."""

    _fields_ = (
        ("name_off", ctypes.c_uint32),
        ("type", ctypes.c_uint32),
        ("offset", ctypes.c_uint32),
    )


class Member(NamedTuple):
    """A member: byte offset in the outermost struct, and the number of its type."""

    name: str
    offset: int
    type: int
    bitfield: bool


@functools.cache
def _libbpf() -> Any:
    """libbpf.so.1 with signatures. Raises CannotTraceError where it is not installed."""
    try:
        lib = ctypes.CDLL("libbpf.so.1", use_errno=True)
    except OSError as error:
        raise CannotTraceError(
            "libbpf.so.1 is not installed", "apt install libbpf1 (libbpfcc depends on it)"
        ) from error
    pointer = ctypes.c_void_p
    for name, result, arguments in (
        ("btf__new", pointer, (ctypes.c_char_p, ctypes.c_uint32)),
        ("btf__parse_raw_split", pointer, (ctypes.c_char_p, pointer)),
        ("btf__free", None, (pointer,)),
        ("btf__find_by_name_kind", ctypes.c_int32, (pointer, ctypes.c_char_p, ctypes.c_uint32)),
        ("btf__type_by_id", pointer, (pointer, ctypes.c_uint32)),
        ("btf__name_by_offset", ctypes.c_char_p, (pointer, ctypes.c_uint32)),
        ("libbpf_set_print", pointer, (pointer,)),
    ):
        function = getattr(lib, name)
        function.restype, function.argtypes = result, arguments
    return lib


def _vlen(info: int) -> int:
    return info & 0xFFFF


def _kind(info: int) -> int:
    return info >> 24 & 0x1F


class Btf:
    """The types of one kernel, or of one module based on its kernel's (``base``)."""

    def __init__(self, data: bytes, where: str, base: Btf | None = None) -> None:
        """Raises BadInputError where DATA is not BTF, CannotTraceError without libbpf."""
        if not data or len(data) > MAX_BYTES:
            raise BadInputError(f"{where}: is not BTF: {len(data)} bytes", _NO_BTF)
        lib = _libbpf()
        self.where = where
        self.base = base
        self._handle: int = _parse(lib, data, where, base)
        self._free = weakref.finalize(self, lib.btf__free, self._handle)
        self._found: dict[str, int | None] = {}
        self._members: dict[int, tuple[Member, ...]] = {}

    @classmethod
    def running(cls, module: str = "", base: Btf | None = None) -> Btf:
        """The running kernel's types, or those of a loaded MODULE based on them (BASE).

        Raises CannotTraceError where the kernel exports no BTF.
        """
        path = RUNNING / (module or "vmlinux")
        try:
            data = path.read_bytes()
        except OSError as error:
            raise CannotTraceError(f"{path}: {error.strerror}", _NO_BTF) from error
        return cls(data, str(path), (base or cls.running()) if module else None)

    @classmethod
    def from_file(cls, path: Path, base: Btf | None = None) -> Btf:
        """Raw BTF in a file (a copy of /sys/kernel/btf/vmlinux). Raises BadInputError."""
        try:
            with path.open("rb") as file:
                return cls(file.read(MAX_BYTES + 1), str(path), base)
        except OSError as error:
            raise BadInputError(f"{path}: {error.strerror}", "give a file of raw BTF") from error

    def has(self, struct: str) -> bool:
        """Whether this BTF or its base has a struct of that name."""
        return self._find(struct) is not None

    def size(self, struct: str) -> int:
        """sizeof(struct STRUCT) in bytes. Raises CannotTraceError where it is missing."""
        return int(self._type(self._need(struct)).size_or_type)

    def offset(self, struct: str, path: str) -> int:
        """Bytes from the start of ``struct STRUCT`` to the member PATH (``"dev.parent"``).

        Members of anonymous structs and unions are found too. Raises CannotTraceError where the
        struct or the member is missing, the member is a bitfield, or PATH passes a pointer.
        """
        here, total = self._need(struct), 0
        for name in path.split("."):
            member = next((m for m in self._members_of(here) if m.name == name), None)
            if member is None or member.bitfield:
                what = "is a bitfield" if member else "is missing"
                raise CannotTraceError(
                    f"{self.where}: struct {struct}: {name} of {path} {what}",
                    "virtio-trace does not know this kernel's structs; please report it",
                )
            total += member.offset
            here = self._resolve(member.type)
        return total

    def functions(self, struct: str) -> dict[str, int]:
        """The function pointers in ``struct STRUCT``: name to offset in bytes."""
        return {
            m.name: m.offset for m in self._members_of(self._need(struct)) if self._calls(m.type)
        }

    def _calls(self, number: int) -> bool:
        info = self._type(self._resolve(number))
        if _kind(info.info) != _PTR:
            return False
        return _kind(self._type(self._resolve(info.size_or_type)).info) == _FUNC_PROTO

    def _find(self, struct: str) -> int | None:
        if struct not in self._found:
            number = self.base._find(struct) if self.base else None
            if number is None:
                found = _libbpf().btf__find_by_name_kind(self._handle, struct.encode(), _STRUCT)
                number = found if found > 0 else None
            self._found[struct] = number
        return self._found[struct]

    def _need(self, struct: str) -> int:
        number = self._find(struct)
        if number is None:
            raise CannotTraceError(f"{self.where}: has no struct {struct}", _NO_BTF)
        return number

    def _type(self, number: int) -> _Type:
        address = _libbpf().btf__type_by_id(self._handle, number)
        if not address:
            raise BadInputError(f"{self.where}: damaged BTF: no type {number}", _NO_BTF)
        return _Type.from_address(address)

    def _resolve(self, number: int) -> int:
        """The type without typedefs, const and the like."""
        for _ in range(_MAX_DEPTH):
            found = self._type(number) if number else None
            if found is None or _kind(found.info) not in _MODIFIERS:
                return number
            number = found.size_or_type
        raise BadInputError(f"{self.where}: damaged BTF: type {number} is its own typedef", _NO_BTF)

    def _members_of(self, number: int) -> tuple[Member, ...]:
        if number not in self._members:
            self._members[number] = tuple(self._read_members(number, 0, 0))
        return self._members[number]

    def _read_members(self, number: int, start: int, depth: int) -> list[Member]:
        """Members of one struct or union, with those of anonymous ones in place."""
        if depth > _MAX_DEPTH:
            raise BadInputError(f"{self.where}: damaged BTF: a struct contains itself", _NO_BTF)
        lib, out = _libbpf(), []
        found = self._type(number) if number else None
        info = found.info if found else 0
        if found is None or _kind(info) not in (_STRUCT, _UNION):
            return []
        raw = (_RawMember * _vlen(info)).from_address(
            ctypes.addressof(found) + ctypes.sizeof(_Type)
        )
        for entry in raw:
            has_width = info >> 31  # kind_flag: the upper 8 bits are a bitfield's size
            bits = entry.offset & 0xFFFFFF if has_width else entry.offset
            width = entry.offset >> 24 if has_width else 0
            name = (lib.btf__name_by_offset(self._handle, entry.name_off) or b"").decode("latin-1")
            at = start + bits // 8
            if name:
                out.append(Member(name, at, entry.type, bool(width or bits % 8)))
            elif not width:
                out += self._read_members(self._resolve(entry.type), at, depth + 1)
        return out


def _parse(lib: Any, data: bytes, where: str, base: Btf | None) -> int:
    """btf__new, without libbpf's messages on the terminal."""
    before = lib.libbpf_set_print(None)
    try:
        if base is None:
            handle = lib.btf__new(data, len(data))
        else:
            handle = _parse_split(lib, data, base._handle)
        number = ctypes.get_errno()
    finally:
        lib.libbpf_set_print(before)
    if not handle:
        why = os.strerror(number) if number else "unknown reason"
        raise BadInputError(f"{where}: is not BTF, or damaged: {why}", _NO_BTF)
    return int(handle)


def _parse_split(lib: Any, data: bytes, base: int) -> int | None:
    """btf__new_split came with libbpf 1.5; the older function wants a path."""
    with os.fdopen(os.memfd_create("btf", os.MFD_CLOEXEC), "wb", buffering=0) as file:
        file.write(data)
        handle: int | None = lib.btf__parse_raw_split(b"/proc/self/fd/%d" % file.fileno(), base)
    return handle
