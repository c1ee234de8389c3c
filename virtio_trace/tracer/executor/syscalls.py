# SPDX-License-Identifier: GPL-2.0-or-later
"""System calls that Python's os module lacks: bpf(2), perf_event_open(2), fsopen(2) and fsmount(2).

Every function raises OSError with the call's name. Structs and numbers are those of
include/uapi/linux/bpf.h, perf_event.h and mount.h.
"""

from __future__ import annotations

import posix
import struct
from fcntl import ioctl

from virtio_trace.tracer.executor.libc import address, error_number, function

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

_ARGUMENTS = 6
_syscall = function("syscall", 1 + _ARGUMENTS)


def _call(name: str, number: int, *arguments: int) -> int:
    result = int(_syscall(number, *arguments, *(0,) * (_ARGUMENTS - len(arguments))))
    if result < 0:
        error = error_number()
        raise OSError(error, posix.strerror(error), name)
    return result


def _number(place: int) -> int:
    machine = posix.uname().machine
    if machine not in _NUMBERS:
        raise OSError(38, f"no system call numbers for {machine}")  # ENOSYS
    return _NUMBERS[machine][place]


def _bpf(command: int, attributes: bytes) -> int:
    buffer = bytearray(attributes.ljust(_PROG_ATTR, b"\0"))
    return _call("bpf", _number(0), command, address(buffer), _PROG_ATTR)


def unlimited_memlock() -> None:
    """Raise RLIMIT_MEMLOCK, against which maps count before Linux 5.11 (d5299b67dd59)."""
    most = bytearray(struct.pack("<QQ", _INFINITY, _INFINITY))
    # Without the privilege, maps may still fit.
    function("setrlimit", 2)(_RLIMIT_MEMLOCK, address(most))


def map_create(kind: int, key: int, value: int, entries: int) -> int:
    """A new map's descriptor. KIND is an enum bpf_map_type; KEY and VALUE are sizes in bytes."""
    return _bpf(_MAP_CREATE, struct.pack("<4I", kind, key, value, entries))


def map_update(descriptor: int, key: bytes, value: bytes) -> None:
    """Set the VALUE of KEY."""
    keys, values = bytearray(key), bytearray(value)
    places = address(keys), address(values)
    _bpf(_MAP_UPDATE, struct.pack("<IIQQQ", descriptor, 0, *places, 0))


def map_lookup(descriptor: int, key: bytes, size: int) -> bytes:
    """The value of KEY, SIZE bytes."""
    keys, values = bytearray(key), bytearray(size)
    places = address(keys), address(values)
    _bpf(_MAP_LOOKUP, struct.pack("<IIQQ", descriptor, 0, *places))
    return bytes(values)


def prog_load(kind: int, code: bytes) -> int:
    """A program's descriptor. KIND is an enum bpf_prog_type. The error has the verifier's last
    words as its file name."""
    instructions, licence = bytearray(code), bytearray(b"GPL\0")
    places = address(instructions), address(licence)
    attributes = struct.pack("<IIQQ", kind, len(code) // 8, *places)
    try:
        return _bpf(_PROG_LOAD, attributes)
    except OSError as error:
        # With a log, verification takes longer; so only to explain.
        log = bytearray(_LOG_BYTES)
        attributes += struct.pack("<IIQ", 1, _LOG_BYTES, address(log))
        try:
            return _bpf(_PROG_LOAD, attributes)
        except OSError:
            text = log.partition(b"\0")[0].decode("ascii", "replace")
            lines = text.strip().split("\n")
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
    buffer = bytearray(attributes.ljust(_PERF_ATTR, b"\0"))
    every, processor, group = -1, 0, -1
    return _call(
        "perf_event_open",
        _number(1),
        address(buffer),
        *(every, processor, group, _PERF_FLAG_FD_CLOEXEC),
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
    name = bytearray(file_system.encode() + b"\0")
    context = _call("fsopen", _FSOPEN, address(name), _FS_CLOEXEC)
    try:
        _call("fsconfig", _FSCONFIG, context, _FSCONFIG_CMD_CREATE)
        return _call("fsmount", _FSMOUNT, context, _FS_CLOEXEC)
    finally:
        posix.close(context)
