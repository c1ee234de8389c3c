# SPDX-License-Identifier: GPL-2.0-or-later
"""Extracts a kernel's modules from its initrd: their lists, and the files that may concern VirtIO.

The initrd may be hostile: only plain files with plain names are written, each below the scratch
folder; links are not followed and not made.
"""

from __future__ import annotations

import contextlib
import re
import shutil
from collections.abc import Sequence
from pathlib import Path

from virtio_trace.errors import BadInputError
from virtio_trace.vm.disk.image_modules import MOST_LIST, MOST_MODULE, RELEASE, wanted
from virtio_trace.vm.disk.initramfs import HINT, DamageError, Entry, Initramfs, Stream
from virtio_trace.vm.host import cache
from virtio_trace.vm.host.programs import Progress

_MOST_KEPT = 4 << 30
_MOST_FILES = 50_000
_MOST_RELEASES = 16
_MOST_DEPTH = 16
_MOST_NAME = 1024

_PART = re.compile(r"[0-9A-Za-z_][0-9A-Za-z._+~@,=-]{0,254}")
"""A name of a file or folder that is taken. All modules of Linux have such names."""
_MODULE = re.compile(r"\.ko(\.(xz|zst|gz))?$")
_LIST = re.compile(r"modules\.[a-z.]+")

_NO_BUILTIN = "which of VirtIO is built into the kernel is unknown, and is not recorded"
"""Without modules.builtin. Without the other lists nothing is unknown: drivers and their aliases
are in the modules. Without modules.dep all modules are kept."""

_Place = tuple[str, str]
"""A release, and a file's path in its folder."""


def extract(
    initrds: Sequence[Path],
    release: str | None,
    scratch: Path,
    progress: Progress,
    notes: list[str],
) -> Path | None:
    """Extracts the modules of the kernel RELEASE from the files INITRDS into folder SCRATCH.

    Returns the folder lib/modules/RELEASE there; None if there is none. If RELEASE is None it is
    the only one in the initrd. NOTES gets sentences for the user: why there is none, what is
    unknown, and damage, at which the kernel stops too: what came before it counts.

    Raises BadInputError for an initrd that cannot be read or goes over a limit, and
    CannotTraceError if a program that unpacks it is missing, or the disk is full.
    """
    name = initrds[0].name if initrds else "the initrd"
    folder = scratch / "lib/modules"
    folder.mkdir(parents=True, exist_ok=True)
    kept = _Kept(folder, release, name)
    what = f"reading {name}"
    try:
        for entry, stream in Initramfs(list(initrds), what, progress).entries():
            if entry is None:
                kept.finish_links()
            elif entry.is_file:
                kept.add(entry, stream)
    except DamageError as error:
        notes.append(f"{error}: what follows there is unknown, and the kernel does not unpack it")
    except OSError as error:
        raise cache.cannot(f"cannot unpack {name}", folder, error) from error
    kept.finish_links()
    progress(what, 1.0)
    found = kept.release(notes)
    return _pruned(folder / found, name, notes) if found is not None else None


def _pruned(tree: Path, name: str, notes: list[str]) -> Path:
    """TREE, without the modules that do not concern VirtIO."""
    files = {str(path.relative_to(tree)) for path in tree.rglob("*") if path.is_file()}
    modules = {file for file in files if "/" in file or not _LIST.fullmatch(file)}
    for file in modules - set(wanted(tree, sorted(modules), name)):
        (tree / file).unlink()
    (tree / "kernel").mkdir(exist_ok=True)
    if "modules.builtin" not in files:
        notes.append(f"{name} has no modules.builtin: {_NO_BUILTIN}")
    return tree


class _Kept:
    """The files of modules that were found so far, in FOLDER."""

    def __init__(self, folder: Path, wanted: str | None, name: str) -> None:
        self._folder = folder
        self._wanted = wanted
        self._name = name
        self._releases: set[str] = set()
        self._bytes = self._files = 0
        self._links: dict[tuple[int, int, int], list[_Place]] = {}

    def add(self, entry: Entry, stream: Stream) -> None:
        """Keeps a regular file, if it is a module or a list of modules."""
        place = _place(entry.name)
        if place is None:
            return
        release, path = place
        if len(self._releases) < _MOST_RELEASES:
            self._releases.add(release)
        if self._wanted != release and (self._wanted or release not in self._releases):
            return
        most = MOST_MODULE if _MODULE.search(path) else MOST_LIST
        self._files += 1
        self._bytes += entry.size
        if entry.size > most:
            size = f"{entry.size} bytes, more than the {most >> 20} MiB allowed"
            raise BadInputError(f"{self._name}: {path} has {size}", HINT)
        if self._bytes > _MOST_KEPT or self._files > _MOST_FILES:
            most_said = f"{_MOST_FILES} modules, or {_MOST_KEPT >> 30} GiB of them"
            raise BadInputError(f"{self._name} has more than {most_said}", HINT)
        if entry.links > 1:
            self._links.setdefault(entry.identity, []).append(place)
            if not entry.size:
                return
        self._write(place, entry.size, stream)

    def _write(self, place: _Place, size: int, stream: Stream) -> None:
        target = self._folder.joinpath(*place)
        # A file where a folder should be, or the reverse: the kernel drops such an entry, too.
        with contextlib.suppress(NotADirectoryError, IsADirectoryError, FileExistsError):
            target.parent.mkdir(parents=True, exist_ok=True)
            target.unlink(missing_ok=True)
            with target.open("xb") as out:
                written = sum(out.write(part) for part in stream.parts(size))
            if written < size:
                target.unlink()

    def finish_links(self) -> None:
        """At the end of an archive: gives all names of a file its content."""
        for places in self._links.values():
            targets = [self._folder.joinpath(*place) for place in places]
            content = next((path for path in reversed(targets) if path.is_file()), None)
            for target in targets:
                if content is not None and not target.exists():
                    with contextlib.suppress(NotADirectoryError, FileExistsError):
                        target.parent.mkdir(parents=True, exist_ok=True)
                        shutil.copyfile(content, target)
        self._links.clear()

    def release(self, notes: list[str]) -> str | None:
        """The release whose modules were kept. NOTES gets the reason if there is none."""
        has = sorted(self._releases)
        if self._wanted is None and len(has) > 1:
            raise BadInputError(
                f"{self._name} has modules of {', '.join(has)}: its kernel is one of them", HINT
            )
        found = self._wanted or (has[0] if has else None)
        if found is not None and (self._folder / found).is_dir():
            return found
        only = f", only of {', '.join(has)}" if has else ""
        notes.append(f"{self._name} has no modules of {found or 'any kernel'}{only}")
        return None


def _place(name: bytes) -> _Place | None:
    """Where the archive's file NAME is kept; None: it is neither a module nor a list of them."""
    if len(name) > _MOST_NAME:
        return None
    parts = [part for part in name.decode("ascii", "replace").split("/") if part not in ("", ".")]
    if parts[:1] == ["usr"]:
        parts = parts[1:]
    if parts[:2] != ["lib", "modules"] or not 4 <= len(parts) <= _MOST_DEPTH:
        return None
    release, *rest = parts[2:]
    if not RELEASE.fullmatch(release) or not all(map(_PART.fullmatch, rest)):
        return None
    plain = _MODULE.search(rest[-1]) or (len(rest) == 1 and _LIST.fullmatch(rest[0]))
    return (release, "/".join(rest)) if plain else None
