# SPDX-License-Identifier: GPL-2.0-or-later
"""BTF out of a kernel image, for a kernel that is not running.

A bzImage names its payload in the setup header (Documentation/arch/x86/boot.rst), an EFI zboot
image (arm64) in its first 64 bytes (drivers/firmware/efi/libstub/zboot-header.S), and an arm64
Image.gz is plain gzip. The payload is an ELF vmlinux, or a flat Image in which the BTF stands
somewhere.
"""

from __future__ import annotations

import os
import re
import struct
from pathlib import Path

from virtio_trace.errors import BadInputError
from virtio_trace.kernel import compression
from virtio_trace.kernel.btf import Btf

_HINT = "give the vmlinuz of a Linux kernel, x86-64 or arm64"
_BTF = struct.Struct("<HBBIIIII")  # struct btf_header, include/uapi/linux/btf.h
_BTF_START = b"\x9f\xeb\x01"
_BANNER = re.compile(rb"Linux version ([!-~]{1,64}) \(")  # init/version-timestamp.c, linux_banner


def btf(path: Path) -> Btf:
    """The types of the kernel image PATH. Raises BadInputError, CannotTraceError."""
    return Btf(btf_bytes(compression.read_file(path), str(path)), str(path))


def find(release: str, tree: Path) -> Path | None:
    """The image that belongs to a module tree: in it, beside it (dpkg -x), or in /boot."""
    name = f"vmlinuz-{release}"
    places = [tree / "vmlinuz", *(up / "boot" / name for up in tree.absolute().parents)]
    return next((p for p in (*places, Path("/boot") / name) if os.path.isfile(p)), None)  # noqa: PTH113


def find_tree(release: str, image: Path) -> Path | None:
    """The module tree that belongs to an image: the reverse of :func:`find`."""
    image = image.absolute()
    ups = (up / part for up in image.parents for part in ("lib/modules", "usr/lib/modules"))
    places = (image.parent, *(up / release for up in ups))
    return next((p for p in places if p.name == release and (p / "kernel").is_dir()), None)


def btf_bytes(image: bytes, where: str) -> bytes:
    """The raw .BTF of a kernel image. Raises BadInputError where it has none, or is none."""
    return btf_in(payload(image, where), where)


def btf_in(kernel: bytes, where: str) -> bytes:
    """The raw .BTF of an uncompressed kernel. Raises BadInputError where it has none."""
    at = kernel.find(_BTF_START)
    while at >= 0:
        size = _btf_size(kernel, at)
        if size:
            return kernel[at : at + size]
        at = kernel.find(_BTF_START, at + 1)
    raise BadInputError(f"{where}: has no BTF", "needs a kernel with CONFIG_DEBUG_INFO_BTF=y")


def _btf_size(kernel: bytes, at: int) -> int:
    """Bytes of the BTF that starts there; 0 where it only looks like one.

    The string section begins and ends with a zero byte, and the types end where it begins.
    """
    if len(kernel) - at < _BTF.size:
        return 0
    fields: tuple[int, ...] = _BTF.unpack_from(kernel, at)
    _magic, _version, flags, header, types, length, strings, size = fields
    start = at + header + strings
    end = start + size
    if flags or header != _BTF.size or types or length < 4096 or strings < length or size < 2:
        return 0
    if end > len(kernel) or kernel[start] or kernel[end - 1]:
        return 0
    return end - at


def release(kernel: bytes) -> str | None:
    """What ``uname -r`` says in an uncompressed kernel, or None where that cannot be found."""
    found = _BANNER.search(kernel)
    return found[1].decode("ascii") if found else None


def payload(image: bytes, where: str) -> bytes:
    """The uncompressed kernel, ELF or flat. Raises BadInputError where IMAGE is no kernel's."""
    if image[:4] == b"\x7fELF" or image[0x38:0x3C] == b"ARM\x64":
        return image
    if image[0x202:0x206] == b"HdrS" and len(image) > 0x250:
        sectors = image[0x1F1] or 4
        offset, length = struct.unpack_from("<II", image, 0x248)
        start = (sectors + 1) * 512 + offset
    elif image[4:8] == b"zimg":
        start, length = struct.unpack_from("<II", image, 8)
    elif image[:2] == b"\x1f\x8b":
        start, length = 0, len(image)
    else:
        raise BadInputError(f"{where}: is no kernel image", _HINT)
    packed = image[start : start + length]
    if not length or len(packed) < length:
        raise BadInputError(f"{where}: is cut short", _HINT)
    try:  # all but gzip have the unpacked size, 4 bytes, behind them (scripts/Makefile.lib)
        return compression.unpack(packed[:-4], where, limit=1 << 30)
    except BadInputError:
        return compression.unpack(packed, where, limit=1 << 30)
