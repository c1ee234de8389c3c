# SPDX-License-Identifier: GPL-2.0-or-later
"""The kernel in an image (vmlinuz), its BTF and its release, for a kernel that is not running.

A bzImage says where its payload is in the setup header (Documentation/arch/x86/boot.rst), an EFI
zboot image in its first 64 bytes (drivers/firmware/efi/libstub/zboot-header.S); an Image.gz is
plain gzip. The payload is an ELF vmlinux, or a flat Image with the BTF somewhere in it.
"""

from __future__ import annotations

import mmap
import os
import re
import struct
from pathlib import Path

from virtio_trace.errors import BadInputError
from virtio_trace.kernel.files import compression, zstd
from virtio_trace.kernel.files.btf import Btf
from virtio_trace.kernel.files.machine import ELF_IDENT, NAMES, of_kernel

_HINT = f"give the vmlinuz of a Linux kernel, {NAMES}"
_BTF = struct.Struct("<HBBIIIII")  # struct btf_header, include/uapi/linux/btf.h
_BTF_START = b"\x9f\xeb\x01"
_SIZE = 4
"""Bytes after a packed kernel, with its unpacked size (scripts/Makefile.lib)."""
_LIMIT = 1 << 30
"""Largest unpacked kernel, in bytes."""
_VERSION = b"Linux version "
_BANNER = re.compile(_VERSION + rb"([!-~]{1,64}) \(")  # init/version-timestamp.c, linux_banner
_OVERLAP = 128
"""Bytes that are searched again, because a match may have been cut."""
_Memory = bytes | mmap.mmap


def btf(path: Path) -> Btf:
    """The types of the kernel image PATH. Raises BadInputError, CannotTraceError."""
    found, _release = types(path)
    if found is None:
        raise _no_btf(str(path))
    return found


def types(path: Path) -> tuple[Btf | None, str | None]:
    """The types of an image and its ``uname -r``, None where it has none.

    The image is unpacked only until both are found. Raises BadInputError where PATH is not a kernel
    image, CannotTraceError.
    """
    where = str(path)
    image = compression.read_file(path)
    start, end = _packed(image, where)
    if compression.is_zstd(image[start : start + 4]):
        look, limit = BtfScanner(), compression.limit_for(end - start, _LIMIT)
        part = zstd.Part(image, start, end - _SIZE)  # not copied: it has 10 MB and more
        raw, name = zstd.search(part, where, limit, look.so_far, look.at_the_end)
    else:
        kernel = _unpacked(image[start:end], where)
        raw, name = BtfScanner().at_the_end(kernel, len(kernel))
    if raw is None and name is None:
        raise BadInputError(f"{path}: is not a kernel image", _HINT)
    return Btf(raw, where) if raw else None, name


def find(release: str, tree: Path) -> Path | None:
    """The image of a module tree's kernel: in the tree, beside it (dpkg -x), or in /boot."""
    name = f"vmlinuz-{release}"
    places = [tree / "vmlinuz", *(up / "boot" / name for up in tree.absolute().parents)]
    return next((p for p in (*places, Path("/boot") / name) if os.path.isfile(p)), None)  # noqa: PTH113


def find_tree(release: str, image: Path) -> Path | None:
    """The module tree of an image's kernel: the reverse of :func:`find`."""
    image = image.absolute()
    ups = (up / part for up in image.parents for part in ("lib/modules", "usr/lib/modules"))
    places = (image.parent, *(up / release for up in ups))
    return next((p for p in places if p.name == release and os.path.isdir(p / "kernel")), None)  # noqa: PTH112


def btf_bytes(image: bytes, where: str) -> bytes:
    """The raw .BTF of a kernel image. Raises BadInputError where there is none."""
    kernel = payload(image, where)
    raw, _release = BtfScanner().at_the_end(kernel, len(kernel))
    if raw is None:
        raise _no_btf(where)
    return raw


def payload(image: bytes, where: str) -> bytes:
    """The uncompressed kernel, ELF or flat. Raises BadInputError where IMAGE has none."""
    start, end = _packed(image, where)
    return _unpacked(image[start:end], where)


class BtfScanner:
    """Finds the BTF and the release in a kernel while it is unpacked."""

    def __init__(self) -> None:
        self._seen = 0
        self._starts: list[int] = []
        self._release: str | None = None

    def so_far(self, kernel: _Memory, size: int) -> tuple[bytes | None, str | None] | None:
        """Both; None: the first SIZE bytes do not have them."""
        self._see(kernel, size)
        btf = self._btf(kernel, size)
        return (btf, self._release) if btf and self._release else None

    def at_the_end(self, kernel: _Memory, size: int) -> tuple[bytes | None, str | None]:
        """Both, each None where the whole KERNEL of SIZE bytes does not have it."""
        self._see(kernel, size)
        return self._btf(kernel, size), self._release

    def _see(self, kernel: _Memory, size: int) -> None:
        """Search what is new, and _OVERLAP; as bytes, which Python searches faster."""
        start = max(0, self._seen - _OVERLAP)
        new = kernel[start:size]
        at = new.find(_BTF_START)
        while at >= 0:
            self._starts.append(start + at)
            at = new.find(_BTF_START, at + 1)
        at = new.find(_VERSION)
        while self._release is None and at >= 0:
            banner = _BANNER.match(new, at)
            self._release = banner[1].decode("ascii") if banner else None
            at = new.find(_VERSION, at + 1)
        self._seen = size

    def _btf(self, kernel: _Memory, size: int) -> bytes | None:
        ends = ((at, _btf_end(kernel, at, size)) for at in self._starts)
        return next((kernel[at:end] for at, end in ends if 0 < end <= size), None)


def _btf_end(kernel: _Memory, at: int, size: int) -> int:
    """The end of the BTF that starts at AT, after SIZE where it is incomplete; 0: not BTF.

    The string section starts and ends with a zero byte, and the types end where it starts.
    """
    if size - at < _BTF.size:
        return size + 1
    fields: tuple[int, ...] = _BTF.unpack_from(kernel, at)
    _magic, _version, flags, header, types, length, strings, total = fields
    start = at + header + strings
    end = start + total
    if flags or header != _BTF.size or types or length < 4096 or strings < length or total < 2:
        return 0
    if end <= size and (kernel[start] or kernel[end - 1]):
        return 0
    return end


def _no_btf(where: str) -> BadInputError:
    return BadInputError(f"{where}: has no BTF", "needs a kernel with CONFIG_DEBUG_INFO_BTF=y")


def _packed(image: bytes, where: str) -> tuple[int, int]:
    """Start and end of the packed kernel in an image, which may be an unpacked kernel itself."""
    if _is_unpacked(image):
        return 0, len(image)
    if image[0x202:0x206] == b"HdrS" and len(image) > 0x250:
        sectors = image[0x1F1] or 4
        offset, length = struct.unpack_from("<II", image, 0x248)
        start = (sectors + 1) * 512 + offset
    elif image[4:8] == b"zimg" and len(image) >= 16:
        start, length = struct.unpack_from("<II", image, 8)
    elif image[:2] == b"\x1f\x8b":
        start, length = 0, len(image)
    else:
        raise BadInputError(f"{where}: is not a kernel image", _HINT)
    if not length or len(image) < start + length:
        raise BadInputError(f"{where}: is cut short", _HINT)
    return start, start + length


def _unpacked(packed: bytes, where: str) -> bytes:
    if _is_unpacked(packed):
        return packed
    limit = compression.limit_for(len(packed), _LIMIT)
    try:  # all but gzip have the unpacked size after them
        return compression.unpack(packed[:-_SIZE], where, limit=limit)
    except BadInputError:
        return compression.unpack(packed, where, limit=limit)


def _is_unpacked(kernel: bytes) -> bool:
    return kernel[:4] == ELF_IDENT[:4] or of_kernel(kernel) is not None
