# SPDX-License-Identifier: GPL-2.0-or-later
"""Puts descriptors of maps, and a probe point's constant, into a program's instructions. Pure.

An instruction is 8 bytes (struct bpf_insn, include/uapi/linux/bpf.h). Loads of 64-bit constants
take two.
"""

from __future__ import annotations

import struct

PROBE_POINT = 0x76742D70726F6265
"""The constant in bpf/shape.h that stands for a point's number (low half) and shape (high half)."""

_LD_IMM64 = b"\x18"  # BPF_LD | BPF_IMM | BPF_DW
_PSEUDO_MAP = (1, 2)  # BPF_PSEUDO_MAP_FD, BPF_PSEUDO_MAP_VALUE: the source register
_INSTRUCTION = struct.Struct("<BBhi")
_LOW, _HIGH = PROBE_POINT & 0xFFFFFFFF, PROBE_POINT >> 32
_MASK = 0xFFFFFFFF


def linked(code: bytes, maps: list[int], point: tuple[int, int] | None = None) -> bytes:
    """CODE with MAPS, descriptors by number from 1, and with POINT, a number and shape.

    Raises ValueError if CODE loads a map that is not in MAPS.
    """
    out = bytearray(code)
    at = code.find(_LD_IMM64)
    while 0 <= at <= len(code) - 2 * _INSTRUCTION.size:
        if at % _INSTRUCTION.size:  # another instruction's byte
            at = code.find(_LD_IMM64, at + 1)
            continue
        _, registers, _, low = _INSTRUCTION.unpack_from(code, at)
        if registers >> 4 in _PSEUDO_MAP:
            if not 1 <= low <= len(maps):
                raise ValueError(f"the program has no map {low}")
            struct.pack_into("<i", out, at + 4, maps[low - 1])
        elif point is not None:
            (high,) = struct.unpack_from("<I", code, at + 12)
            if (low & _MASK, high) == (_LOW, _HIGH):
                struct.pack_into("<I", out, at + 4, point[0])
                struct.pack_into("<I", out, at + 12, point[1])
        at = code.find(_LD_IMM64, at + 2 * _INSTRUCTION.size)
    return bytes(out)
