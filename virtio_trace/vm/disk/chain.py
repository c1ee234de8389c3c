# SPDX-License-Identifier: GPL-2.0-or-later
"""The files that a disk image names: its backing file, its data file, its extents.

An image may be hostile, and may name any file of the host: QEMU would read it into the guest. So
QEMU is not left to follow these names. They are read here, each must be in the image's folder or in
one that the user allows, and QEMU is given the resulting files and their formats one by one.

Layouts: docs/interop/qcow2.txt and docs/interop/qed_spec.txt of QEMU, block/qcow.c, block/vmdk.c.
"""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from virtio_trace.errors import BadInputError

DEEPEST = 64
"""Files in one backing chain."""

FORMATS = ("qcow2", "qcow", "qed", "vmdk")
"""The formats of which images name other files."""

BACKING_FORMATS = ("raw", "qcow2", "vdi", "vpc", "vhdx")
"""Formats of a backing file: raw and those that name either no file or one that is read here."""

_QCOW = b"QFI\xfb"
_QED = b"QED\0"
_VMDK = (b"KDMV", b"COWD")
_HEAD = 2 << 20
"""Bytes of a qcow2's first cluster, at most: header and names are in it."""

_LONGEST_NAME = 1023
_DATA_FILE_BIT = 1 << 2
_FORMAT_EXTENSION, _DATA_EXTENSION = 0xE2792ACA, 0x44415441
_MOST_EXTENSIONS = 1000
_DESCRIPTOR = re.compile(rb"(?>[ \t]*(?:#[^\n]*|\r?)\n)*+version=[123][\r\n]")
_EXTENT = re.compile(rb'RW\s+[-+]?\d+\s*\S{1,9}?\s*"([^"\r\n]{1,511})"')
_PARENT = re.compile(rb'parentFileNameHint="([^"\r\n]{1,1023})')
_PROTOCOL = re.compile(r"[^/]*:")
"""What QEMU takes for a protocol: nbd:, json:, http: (block.c, path_has_protocol)."""


@dataclass(frozen=True, slots=True)
class ImageFile:
    """A file of a disk and its format. None as ``format``: it is not one that names other files."""

    path: Path
    format: str | None
    backing: ImageFile | None = None
    data: Path | None = None

    @property
    def files(self) -> list[Path]:
        """Every file that QEMU reads besides ``path``."""
        found = [] if self.data is None else [self.data]
        return found if self.backing is None else [*found, self.backing.path, *self.backing.files]

    def source(self, form: str) -> str:
        """The image, of format FORM, in QEMU's json: syntax. No name is left to follow."""
        return "json:" + json.dumps(self._node(form), ensure_ascii=False)

    def _node(self, form: str) -> dict[str, Any]:
        node: dict[str, Any] = {"driver": form, "file": _protocol(self.path)}
        if form == "raw":
            return node
        if form in FORMATS:
            node["backing"] = self.backing and self.backing._node(self.backing.format or "raw")
        if self.data is not None:
            node["data-file"] = _protocol(self.data)
        return node


def read(image: Path, allowed: Sequence[Path] = ()) -> ImageFile:
    """The image, an absolute path without symbolic links, and every file that it names.

    ALLOWED are folders, besides its own, in which those files may be; folders in these do not
    count, as an image in a home folder must not name .ssh/id_rsa. Raises BadInputError if a file is
    elsewhere or cannot be read safely, OSError if the image cannot be read.
    """
    folders = [image.parent, *(folder.resolve() for folder in allowed)]
    return _read(image, None, folders, (image,))


def _read(
    path: Path, form: str | None, folders: Sequence[Path], above: tuple[Path, ...]
) -> ImageFile:
    """The file PATH of format FORM; None: by its magic number."""
    if form not in (None, "qcow2"):
        return ImageFile(path, form)
    with path.open("rb") as file:
        head = file.read(_HEAD)
    if head[:4] == _QCOW and _number(head, 4, 4) > 1:
        return _qcow2(path, head, folders, above)
    if form is not None:
        raise BadInputError(f"{above[-2]}: its backing file {path} is not a {form}", _WHOLE)
    if head[:4] == _QCOW:
        return _without_backing(path, "qcow", _number(head, 8, 8) != 0)
    if head[:4] == _QED:
        return _without_backing(path, "qed", bool(head[16:17] and head[16] & 1))
    if head[:4] in _VMDK:
        if head[:4] == b"KDMV" and not any(head[12:20]):
            # Then QEMU takes its extents from a descriptor, which may be anywhere in the file.
            raise BadInputError(f"{path} is a vmdk without a capacity", _WHOLE)
        return _without_backing(path, "vmdk", _PARENT.search(head[0x200:0x2A00]) is not None)
    if _DESCRIPTOR.match(head):
        for extent in _EXTENT.findall(head):
            _file(path, "data file", _text(path, extent), folders)
        return _without_backing(path, "vmdk", _PARENT.search(head) is not None)
    return ImageFile(path, None)


_WHOLE = "is it a whole disk image?"


def _without_backing(path: Path, form: str, has_backing: bool) -> ImageFile:
    if has_backing:
        raise BadInputError(
            f"{path} has a backing file, which is only supported for qcow2, not for {form}",
            "if you trust the image: qemu-img convert -O qcow2",
        )
    return ImageFile(path, form)


def _qcow2(path: Path, head: bytes, folders: Sequence[Path], above: tuple[Path, ...]) -> ImageFile:
    extensions = _extensions(head)
    data = None
    if _number(head, 4, 4) > 2 and _number(head, 72, 8) & _DATA_FILE_BIT:
        said = extensions.get(_DATA_EXTENSION)
        if said is None:
            raise BadInputError(f"{path}: it does not say which file has its data", _WHOLE)
        data = _file(path, "data file", _text(path, said), folders)
    offset, size = _number(head, 8, 8), _number(head, 16, 4)
    if not offset:
        return ImageFile(path, "qcow2", data=data)
    raw = head[offset : offset + size]
    if not 0 < size <= _LONGEST_NAME or len(raw) < size:
        raise BadInputError(f"{path}: the name of its backing file cannot be read", _WHOLE)
    name = _text(path, raw)
    form = extensions.get(_FORMAT_EXTENSION, b"").decode("ascii", "replace")
    if not form:
        raise BadInputError(
            f"{path} does not say which format its backing file {name!r:.200} has",
            "if you trust the image: qemu-img rebase -u -F FORMAT -b FILE",
        )
    if form not in BACKING_FORMATS:
        raise BadInputError(
            f"{path}: its backing file {name!r:.200} has the format {form!r:.40}, not one of "
            f"{', '.join(BACKING_FORMATS)}",
            "if you trust the image: qemu-img convert -O qcow2",
        )
    found = _file(path, "backing file", name, folders)
    if found in above:
        raise BadInputError(f"{path}: its backing chain is a loop: it has {found} twice", _WHOLE)
    if len(above) >= DEEPEST:
        raise BadInputError(
            f"{above[0]}: its backing chain has more than {DEEPEST} files",
            "if you trust the image: qemu-img convert -O qcow2",
        )
    return ImageFile(path, "qcow2", _read(found, form, folders, (*above, found)), data)


def _extensions(head: bytes) -> dict[int, bytes]:
    """The header extensions: each has a type, a length, and its data padded to 8 bytes."""
    at = _number(head, 100, 4) if _number(head, 4, 4) > 2 else 72
    found: dict[int, bytes] = {}
    for _ in range(_MOST_EXTENSIONS):
        kind, size = _number(head, at, 4), _number(head, at + 4, 4)
        if not kind or len(head) < at + 8 + size:
            break
        found[kind] = head[at + 8 : at + 8 + size]
        at += 8 + (size + 7) // 8 * 8
    return found


def _file(image: Path, what: str, name: str, folders: Sequence[Path]) -> Path:
    """The file NAME that IMAGE names, relative to it, if it is in one of FOLDERS."""
    said = f"{image}: its {what} {name!r:.200}"
    if _PROTOCOL.match(name):
        raise BadInputError(f"{said} is not the name of a file", "convert it to one file")
    try:
        path = (image.parent / name).resolve(strict=True)
        mode = path.stat().st_mode
    except (OSError, ValueError, RuntimeError) as error:  # a zero byte; a loop of links
        reason = getattr(error, "strerror", None) or error
        raise BadInputError(f"{said}: {reason}", "copy the image with all of its files") from error
    if path.parent not in folders:
        raise BadInputError(
            f"{said} is outside of the image's folder: the guest could read it",
            f"if you trust the image: --backing {path.parent}",
        )
    if not (stat.S_ISREG(mode) or stat.S_ISBLK(mode)):
        raise BadInputError(f"{said} is not a file", "copy the image with all of its files")
    if not os.access(path, os.R_OK):
        raise BadInputError(f"{said}: Permission denied", "name an image that you may read")
    return path


def _text(image: Path, name: bytes) -> str:
    try:
        return name.decode()
    except UnicodeDecodeError as error:
        raise BadInputError(f"{image} names a file in no UTF-8: {name!r:.200}", _WHOLE) from error


def _number(data: bytes, offset: int, size: int) -> int:
    """A big-endian number of SIZE bytes; what is beyond the end reads as 0."""
    return int.from_bytes(data[offset : offset + size].ljust(size, b"\0"), "big")


def _protocol(path: Path) -> dict[str, str]:
    """The file itself for QEMU, which opens block devices by another driver."""
    driver = "host_device" if stat.S_ISBLK(path.stat().st_mode) else "file"
    return {"driver": driver, "filename": str(path)}
