# SPDX-License-Identifier: GPL-2.0-or-later
"""Takes a unified kernel image apart: kernel, initrds and options are sections of a PE file.

Sections: uapi-group.org, Unified Kernel Image. The sections are read with pefile.

The file may be hostile: sections may lie anywhere in it, and overlap. Together they are never
larger than the file.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from virtio_trace.errors import BadInputError, CannotTraceError
from virtio_trace.kernel.files.machine import AARCH64, IMAGE_HEAD, X86_64, Machine, of_image

HINT = "apt install python3-pefile, or pip install 'virtio-trace[uki]'"

_MACHINES = {0x8664: X86_64, 0xAA64: AARCH64}
"""IMAGE_FILE_MACHINE_AMD64 and _ARM64 (Microsoft's PE Format, Machine Types)."""

_FILES = ("linux", "ucode", "initrd")
_TEXTS = ("cmdline", "osrel")
_MOST_TEXT = 64 << 10
_STEP = 1 << 20
_EFI_ZBOOT = b"zimg"
"""An EFI zboot image is a PE file, too (drivers/firmware/efi/libstub/zboot-header.S)."""


@dataclass(frozen=True, slots=True)
class Unified:
    """What is in a unified kernel image. ``initrds`` are in their order, microcode first."""

    vmlinuz: Path
    initrds: tuple[Path, ...] = ()
    options: str = ""


@dataclass(frozen=True, slots=True)
class Section:
    """A section's content: its place in the file, in bytes. ``name`` is without its dot."""

    name: str
    offset: int
    size: int


def machine(path: Path) -> Machine | None:
    """The machine of a PE file that is not itself a kernel image; None for any other file."""
    try:
        with path.open("rb") as file:
            head = file.read(IMAGE_HEAD)
            if head[:2] != b"MZ" or head[4:8] == _EFI_ZBOOT or of_image(head) is not None:
                return None
            file.seek(int.from_bytes(head[0x3C:0x40], "little"))
            found = file.read(6)
    except (OSError, ValueError):
        return None
    return _MACHINES.get(int.from_bytes(found[4:], "little")) if found[:4] == b"PE\0\0" else None


def extract(path: Path, folder: Path) -> Unified:
    """Extracts the unified kernel image PATH into FOLDER.

    Raises BadInputError if it is not one or is damaged, CannotTraceError if pefile is missing.
    """
    found = sections(path)
    if "linux" not in found:
        raise BadInputError(
            f"{path.name} is not a unified kernel image: it has no section .linux",
            "give a kernel, or a unified kernel image",
        )
    files = {}
    with _opened(path) as file:
        for name in _FILES:
            if name in found:
                files[name] = _copy(file, found[name], folder / f"uki-{name}")
        options = _text(file, found["cmdline"]) if "cmdline" in found else ""
    return Unified(
        vmlinuz=files["linux"],
        initrds=tuple(files[name] for name in ("ucode", "initrd") if name in files),
        options=" ".join(options.split()),
    )


def os_release(path: Path) -> dict[str, str] | None:
    """The values of its section .osrel (os-release(5)); None if PATH is not such an image.

    Raises CannotTraceError if pefile is missing.
    """
    try:
        found = sections(path)
    except BadInputError:
        return None
    if "linux" not in found:
        return None
    with _opened(path) as file:
        return _values(_text(file, found["osrel"])) if "osrel" in found else {}


def sections(path: Path) -> dict[str, Section]:
    """The sections of its first profile by name, checked. Raises BadInputError, CannotTraceError.

    A section of a profile replaces one that comes before all profiles.
    """
    try:
        import pefile  # noqa: PLC0415 - an extra
    except ImportError as error:
        message = f"{path.name}: reading a unified kernel image needs pefile"
        raise CannotTraceError(message, HINT) from error
    try:
        with pefile.PE(str(path), fast_load=True) as image:
            listed = [
                Section(
                    one.Name.rstrip(b"\0").decode("ascii", "replace").removeprefix("."),
                    one.PointerToRawData,
                    min(one.Misc_VirtualSize, one.SizeOfRawData),
                )
                for one in image.sections
            ]
        size = path.stat().st_size
    except pefile.PEFormatError as error:
        raise BadInputError(f"{path.name}: {error.value}", "is it a whole file?") from error
    except (OSError, ValueError) as error:  # ValueError: an empty file cannot be mapped
        reason = getattr(error, "strerror", None) or error
        raise BadInputError(f"{path.name}: {reason}", "name a readable file") from error
    found = first_profile(listed)
    _check(path.name, found.values(), size)
    return found


def first_profile(listed: Iterable[Section]) -> dict[str, Section]:
    """What counts of the sections LISTED. If a name is there twice, the first one counts."""
    base: dict[str, Section] = {}
    profile: dict[str, Section] = {}
    current, profiles = base, 0
    for section in listed:
        if section.name == "profile":
            profiles += 1
            current = profile
        if profiles > 1:
            break
        current.setdefault(section.name, section)
    return {name: s for name, s in {**base, **profile}.items() if name in (*_FILES, *_TEXTS)}


def _check(name: str, found: Iterable[Section], size: int) -> None:
    total = 0
    for section in found:
        total += section.size
        if section.offset + section.size > size or total > size:
            raise BadInputError(
                f"{name}: section .{section.name} is not whole: {section.size} bytes at "
                f"{section.offset}, in a file of {size}",
                "is it a whole file?",
            )


def _opened(path: Path) -> BinaryIO:
    try:
        return path.open("rb")
    except OSError as error:
        raise BadInputError(f"{path.name}: {error.strerror}", "name a readable file") from error


def _copy(file: BinaryIO, section: Section, target: Path) -> Path:
    file.seek(section.offset)
    left = section.size
    with target.open("wb") as out:
        while left and (part := file.read(min(left, _STEP))):
            left -= out.write(part)
    return target


def _text(file: BinaryIO, section: Section) -> str:
    file.seek(section.offset)
    data = file.read(min(section.size, _MOST_TEXT))
    return data.decode("utf-8", "replace").replace("\0", " ").strip()


def _values(text: str) -> dict[str, str]:
    found = {}
    for line in text.splitlines():
        key, equals, value = line.strip().partition("=")
        if equals and key.isidentifier():
            try:
                found[key] = " ".join(shlex.split(value))
            except ValueError:  # a quote that does not end
                found[key] = value
    return found
