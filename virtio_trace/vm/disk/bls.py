# SPDX-License-Identifier: GPL-2.0-or-later
"""The entries of the Boot Loader Specification, and which of them systemd-boot boots by default.

Type 1 is a text file in loader/entries, type 2 a unified kernel image in EFI/Linux (uapi-group.org,
Boot Loader Specification). Pure: its input is names and text, which may be hostile.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase

from virtio_trace.vm.disk.bootloader import BootEntry, expand

_LONGEST_PATTERN = 256
_LONGEST_VERSION = 1 << 16
_LONGEST_OPTIONS = 1 << 16
_COUNTER = re.compile(r"(.+?)\+([0-9]{1,9})(?:-[0-9]{1,9})?")
"""The name of an entry with boot counting: tries left, and tries done."""

_ARCHITECTURE = "x64"
"""EFI's name for the machine on which disk images boot."""

Version = list[tuple[int, int, str]]


@dataclass(frozen=True, slots=True)
class Candidate:
    """An entry to choose from. ``ident`` is its file's name, without a boot counter, in lower case.
    ``bad``: boot counting has no try left."""

    entry: BootEntry
    ident: str
    sort_key: str = ""
    machine: str = ""
    version: str = ""
    bad: bool = False


def choose(candidates: Iterable[Candidate], loader: str = "") -> Candidate | None:
    """The default entry; LOADER is the text of loader.conf. None without candidates.

    It is the first one that loader.conf's pattern matches, else the first one, in the order of
    systemd-boot's menu (src/boot/boot.c, boot_entry_compare and config_select_default_entry).
    """
    found = _in_order(candidates)
    patterns = re.findall(r"^[ \t]*default[ \t]+(\S+)", loader, re.M)
    if patterns and len(patterns[-1]) <= _LONGEST_PATTERN:
        wanted = patterns[-1].lower()
        for one in found:
            if any(fnmatchcase(name, wanted) for name in (one.ident, _stem(one.ident))):
                return one
    return found[0] if found else None


def _in_order(candidates: Iterable[Candidate]) -> list[Candidate]:
    """Sorts by the least significant key first. Newer versions come first, and entries without a
    try left last; where only some have a sort-key, these come before the others."""
    found = sorted(candidates, key=lambda one: version_key(one.ident), reverse=True)
    keyed = [one for one in found if one.sort_key]
    keyed.sort(key=lambda one: version_key(one.version), reverse=True)
    keyed.sort(key=lambda one: (one.sort_key, one.machine))
    found = keyed + [one for one in found if not one.sort_key]
    return sorted(found, key=lambda one: one.bad)


def type1(name: str, text: str, environment: Mapping[str, str] | None = None) -> Candidate | None:
    """The entry of the file NAME in loader/entries with TEXT. ENVIRONMENT: GRUB's variables, if it
    is GRUB that reads it.

    None if it has no kernel and no unified kernel image, or is for another architecture.
    """
    keys: dict[str, list[str]] = {}
    for line in text.splitlines():
        key, _, value = line.strip().replace("\t", " ", 1).partition(" ")
        if key and not key.startswith("#"):
            keys.setdefault(key, []).append(value.strip())
    unified = next((keys[key][-1] for key in ("uki", "efi") if key in keys), "")
    if "linux" not in keys and not unified.lower().startswith("/efi/linux/"):
        return None
    if keys.get("architecture", [_ARCHITECTURE])[-1].lower() != _ARCHITECTURE:
        return None
    options = " ".join(keys.get("options", ()))
    if environment is not None:
        words = (expand(word, environment) for word in options.split(" "))
        options = " ".join(word for word in words if word)[:_LONGEST_OPTIONS]
    entry = BootEntry(
        title=keys.get("title", [name])[-1],
        linux=keys["linux"][-1] if "linux" in keys else "",
        initrds=tuple(path for value in keys.get("initrd", ()) for path in value.split()),
        options=options,
        unified="" if "linux" in keys else unified,
    )
    more = [keys.get(key, [""])[-1] for key in ("sort-key", "machine-id", "version")]
    return Candidate(entry, *_identity(name, more))


def type2(name: str, path: str, release: Mapping[str, str]) -> Candidate:
    """The entry of the unified kernel image at PATH, a file NAME in EFI/Linux.

    RELEASE has the values of its section .osrel (os-release(5)).
    """
    title = next((release[key] for key in ("PRETTY_NAME", "NAME") if release.get(key)), name)
    sort_key = release.get("IMAGE_ID") or release.get("ID") or ""
    keys = ("IMAGE_VERSION", "VERSION_ID", "BUILD_ID")
    version = next((release[key] for key in keys if release.get(key)), "")
    return Candidate(BootEntry(title, unified=path), *_identity(name, [sort_key, "", version]))


def _identity(name: str, more: list[str]) -> tuple[str, str, str, str, bool]:
    """The fields of a Candidate after its entry."""
    ident, left = counted(name)
    sort_key, machine, version = more
    return ident.lower(), sort_key, machine, version, left == 0


def counted(name: str) -> tuple[str, int | None]:
    """The file's NAME without its boot counter, and the tries left; None without boot counting."""
    stem, dot, suffix = name.rpartition(".")
    found = _COUNTER.fullmatch(stem) if dot else None
    return (f"{found[1]}.{suffix}", int(found[2])) if found else (name, None)


def _stem(ident: str) -> str:
    return ident.removesuffix(".conf").removesuffix(".efi")


_SEPARATORS = "-^."
_PART = re.compile(r"[~^.-]|[0-9]+|[A-Za-z]+")


def version_key(text: str) -> Version:
    """A sort key for versions (uapi-group.org, Version Format Specification).

    Numbers are compared by value: 6.1.0-9 is before 6.1.0-10. They may have any number of digits,
    so they are compared as text, by length first. ``~`` is before the end of a version.
    """
    parts = _PART.findall(text[:_LONGEST_VERSION])
    return [*(_part_key(part) for part in parts), (0, 0, "")]


def _part_key(part: str) -> tuple[int, int, str]:
    if part == "~":
        return (-1, 0, "")
    if part in _SEPARATORS:
        return (1 + _SEPARATORS.index(part), 0, "")
    if part[0].isdecimal():
        digits = part.lstrip("0")
        return (5, len(digits), digits)
    return (4, 0, part)
