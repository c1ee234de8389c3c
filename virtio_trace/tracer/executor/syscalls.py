# SPDX-License-Identifier: GPL-2.0-or-later
"""System calls that Python's os module lacks: bpf(2), perf_event_open(2), fsopen(2) and fsmount(2).

Every function raises OSError with the call's name. Structs and numbers are those of
include/uapi/linux/bpf.h, perf_event.h and mount.h.
"""

from __future__ import annotations

import ctypes
import os
import struct
from fcntl import ioctl

# By uname -m: bpf, perf_event_open. arch/x86/entry/syscalls/syscall_64.tbl, and
# include/uapi/asm-generic/unistd.h, which all newer machines share.
_GENERIC = (280, 241)
_NUMBERS = {"x86_64": (321, 298), "aarch64": _GENERIC, "riscv64": _GENERIC}
_FSOPEN, _FSCONFIG, _FSMOUNT = 430, 431, 432  # the same everywhere, since Linux 5.2

_MAP_CREATE, _MAP_LOOKUP, _MAP_UPDATE, _PROG_LOAD, _LINK_CREATE = 0, 1, 2, 5, 28
_BPF_PERF_EVENT = 41  # enum bpf_attach_type, since Linux 5.15
_PROG_ATTR = (
    128  # bytes of union bpf_attr that are passed; zeros beyond what a kernel knows are fine
)
_PERF_TYPE_TRACEPOINT, _PERF_SAMPLE_RAW, _PERF_FLAG_FD_CLOEXEC = 2, 1 << 10, 8
_PERF_ATTR = 112  # PERF_ATTR_SIZE_VER5
_PERF_IOC_ENABLE, _PERF_IOC_SET_BPF = 0x2400, 0x40042408
_FSCONFIG_CMD_CREATE = 6
_FS_CLOEXEC = 1  # FSOPEN_CLOEXEC and FSMOUNT_CLOEXEC

_RLIMIT_MEMLOCK, _INFINITY = 8, (1 << 64) - 1

_LOG_BYTES = 1 << 16

_syscall = ctypes.CDLL(None, use_errno=True).syscall
_syscall.restype = ctypes.c_long


def _call(name: str, number: int, *arguments: object) -> int:
    result = int(_syscall(ctypes.c_long(number), *arguments))
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), name)
    return result


def _number(place: int) -> int:
    machine = os.uname().machine
    if machine not in _NUMBERS:
        raise OSError(38, f"no system call numbers for {machine}")  # ENOSYS
    return _NUMBERS[machine][place]


def _bpf(command: int, attributes: bytes) -> int:
    buffer = ctypes.create_string_buffer(attributes, _PROG_ATTR)
    return _call("bpf", _number(0), ctypes.c_int(command), buffer, ctypes.c_uint(_PROG_ATTR))


def unlimited_memlock() -> None:
    """Raise RLIMIT_MEMLOCK, against which maps count before Linux 5.11 (d5299b67dd59)."""
    most = (ctypes.c_uint64 * 2)(_INFINITY, _INFINITY)
    ctypes.CDLL(None).setrlimit(_RLIMIT_MEMLOCK, most)  # without the privilege, maps may still fit


def map_create(kind: int, key: int, value: int, entries: int) -> int:
    """A new map's descriptor. KIND is an enum bpf_map_type; KEY and VALUE are sizes in bytes."""
    return _bpf(_MAP_CREATE, struct.pack("<4I", kind, key, value, entries))


def map_update(descriptor: int, key: bytes, value: bytes) -> None:
    """Set the VALUE of KEY."""
    keys, values = ctypes.create_string_buffer(key), ctypes.create_string_buffer(value)
    places = ctypes.addressof(keys), ctypes.addressof(values)
    _bpf(_MAP_UPDATE, struct.pack("<IIQQQ", descriptor, 0, *places, 0))


def map_lookup(descriptor: int, key: bytes, size: int) -> bytes:
    """The value of KEY, SIZE bytes."""
    keys, values = ctypes.create_string_buffer(key), ctypes.create_string_buffer(size)
    places = ctypes.addressof(keys), ctypes.addressof(values)
    _bpf(_MAP_LOOKUP, struct.pack("<IIQQ", descriptor, 0, *places))
    return values.raw


def prog_load(kind: int, code: bytes) -> int:
    """A program's descriptor. KIND is an enum bpf_prog_type. The error has the verifier's last
    words as its file name."""
    instructions, licence = ctypes.create_string_buffer(code), ctypes.create_string_buffer(b"GPL")
    places = ctypes.addressof(instructions), ctypes.addressof(licence)
    attributes = struct.pack("<IIQQ", kind, len(code) // 8, *places)
    try:
        return _bpf(_PROG_LOAD, attributes)
    except OSError as error:
        # With a log, verification takes longer; so only to explain.
        log = ctypes.create_string_buffer(_LOG_BYTES)
        attributes += struct.pack("<IIQ", 1, _LOG_BYTES, ctypes.addressof(log))
        try:
            return _bpf(_PROG_LOAD, attributes)
        except OSError:
            lines = log.value.decode("ascii", "replace").strip().split("\n")
            said = [line for line in lines if not line.startswith("processed ")]
            raise OSError(error.errno, error.strerror, said[-1] if said else "bpf") from None


def link_create(program: int, event: int, cookie: int) -> int:
    """Attach PROGRAM to the perf EVENT with COOKIE (since Linux 5.15). The link's descriptor."""
    return _bpf(_LINK_CREATE, struct.pack("<IIIIQ", program, event, _BPF_PERF_EVENT, 0, cookie))


def perf_open(identity: int) -> int:
    """Open the tracefs event whose id is IDENTITY, for every process. Disabled until
    :func:`perf_enable`."""
    attributes = struct.pack(
        "<IIQQQ", _PERF_TYPE_TRACEPOINT, _PERF_ATTR, identity, 1, _PERF_SAMPLE_RAW
    )
    buffer = ctypes.create_string_buffer(attributes, _PERF_ATTR)
    return _call(
        "perf_event_open",
        _number(1),
        buffer,
        ctypes.c_int(-1),
        ctypes.c_int(0),
        ctypes.c_int(-1),
        ctypes.c_ulong(_PERF_FLAG_FD_CLOEXEC),
    )


def perf_set_bpf(event: int, program: int) -> None:
    """Attach PROGRAM to the perf EVENT, without a cookie."""
    ioctl(event, _PERF_IOC_SET_BPF, program)


def perf_enable(event: int) -> None:
    """The perf EVENT's program runs from now on."""
    ioctl(event, _PERF_IOC_ENABLE, 0)


def mounted(file_system: str) -> int:
    """A folder's descriptor: a file system (tracefs, proc, ...) that no mount namespace shows.

    It lives as long as the descriptor; what leaves an initrd neither meets nor removes it.
    """
    name = ctypes.create_string_buffer(file_system.encode())
    context = _call("fsopen", _FSOPEN, name, ctypes.c_uint(_FS_CLOEXEC))
    try:
        command = ctypes.c_uint(_FSCONFIG_CMD_CREATE)
        none = ctypes.c_void_p()
        _call("fsconfig", _FSCONFIG, ctypes.c_int(context), command, none, none, ctypes.c_int(0))
        flags = ctypes.c_uint(_FS_CLOEXEC)
        return _call("fsmount", _FSMOUNT, ctypes.c_int(context), flags, ctypes.c_uint(0))
    finally:
        os.close(context)
