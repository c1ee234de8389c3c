# SPDX-License-Identifier: GPL-2.0-or-later
"""A module tree, .../lib/modules/RELEASE: which files it has, and what depmod says of them.

It may come straight from ``dpkg -x``, with no depmod files, and is never written to.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections import deque
from functools import cached_property
from pathlib import Path

from virtio_trace.errors import BadInputError, VirtioTraceError
from virtio_trace.kernel.files import compression
from virtio_trace.kernel.files.background import BackgroundRead

_SUFFIX = re.compile(r"\.ko(\.(xz|zst|gz))?$")
_NOT_MODULES = ("build", "source", "vdso")
_FIRST = ("updates", "extra")
"""Folders whose modules stand in for the kernel's own (depmod.d(5), search)."""
_MARK = b"register_virtio_d"
"""In the .strtab of every file with one of {,__}register_virtio_driver, register_virtio_device."""
_HINT = "give a folder such as /lib/modules/$(uname -r), or lib/modules/RELEASE in an unpacked .deb"


def module_name(file: str) -> str:
    """The module's name as lsmod has it: ``kernel/x/virtio-rng.ko.xz`` is virtio_rng."""
    return _SUFFIX.sub("", file.rpartition("/")[2]).replace("-", "_")


class ModuleTree:
    """The modules of one kernel. File names are relative to ``path``, with ``/``."""

    def __init__(self, path: Path) -> None:
        """Raises BadInputError where PATH is no folder, or has neither modules nor their lists."""
        self.path = path
        self._ahead: list[BackgroundRead[dict[str, bytes | VirtioTraceError]]] | None = None
        try:
            entries = {entry.name for entry in path.iterdir()}
        except OSError as error:
            raise BadInputError(f"{path}: {error.strerror}", _HINT) from error
        if not entries & {"kernel", "modules.builtin", "modules.dep", *_FIRST} and not self.files:
            raise BadInputError(f"{path}: is no module tree", _HINT)

    @property
    def release(self) -> str:
        """The kernel's release: the folder's name."""
        return self.path.absolute().name

    @cached_property
    def depends(self) -> dict[str, tuple[str, ...]]:
        """File to the files it needs, by modules.dep; {} where depmod was not run."""
        out = {}
        for line in self._lines("modules.dep"):
            file, colon, needs = line.partition(":")
            if colon:
                out[file] = tuple(needs.split())
        return out

    @cached_property
    def files(self) -> dict[str, str]:
        """Module name to file, by modules.dep, else by looking."""
        listed = self.depends or self._walk()
        out: dict[str, str] = {}
        for file in listed:
            out.setdefault(module_name(file), file)
        return out

    @cached_property
    def builtin(self) -> tuple[str, ...]:
        """Names of what could have been a module and is in the kernel itself."""
        return tuple(module_name(line) for line in self._lines("modules.builtin") if line)

    @cached_property
    def builtin_aliases(self) -> dict[str, tuple[str, ...]]:
        """Aliases by module of what is in the kernel itself, by modules.builtin.modinfo, which has
        them since 6.18; {} where it has none."""
        out: dict[str, list[str]] = {}
        for line in "\n".join(self._lines("modules.builtin.modinfo")).split("\0"):
            key, equals, value = line.partition("=")
            name, _, what = key.rpartition(".")
            if equals and what == "alias":
                out.setdefault(name, []).append(value)
        return {name: tuple(found) for name, found in out.items()}

    @cached_property
    def aliases(self) -> tuple[tuple[str, str], ...]:
        """(pattern, module) by modules.alias; () where depmod was not run."""
        words = (line.split() for line in self._lines("modules.alias"))
        return tuple((w[1], w[2]) for w in words if len(w) == 3 and w[0] == "alias")

    def read(self, file: str) -> bytes:
        """The uncompressed bytes of one file. Raises BadInputError, CannotTraceError."""
        path = self.path / file
        return compression.unpack(compression.read_file(path), str(path))

    def read_ahead(self) -> None:
        """Begin in other threads what virtio_files waits for, where it is worth it."""
        names = self.virtio_candidates()
        if self._ahead is None and len(names) > 3 and any(not n.endswith(".ko") for n in names):
            files = deque(names)  # that all take from: a task a file would cost more than reading
            workers = range(os.cpu_count() or 1)  # lzma and libzstd let the others run
            self._ahead = [BackgroundRead(lambda: self._read_from(files)) for _ in workers]

    def _read_from(self, files: deque[str]) -> dict[str, bytes | VirtioTraceError]:
        found: dict[str, bytes | VirtioTraceError] = {}
        with contextlib.suppress(IndexError):  # popleft is one step, whoever else takes
            while True:
                file = files.popleft()
                result = self._read_marked(file)
                if result is not None:
                    found[file] = result
        return found

    def virtio_files(self) -> tuple[dict[str, bytes], dict[str, str]]:
        """Every file that may register a virtio driver or device, with its bytes; and every file
        that could not be read, with the reason.

        With depmod's files some dozen files are opened; without them all of them, which takes
        seconds where they are compressed.
        """
        self.read_ahead()
        if self._ahead is None:
            read = self._read_from(deque(self.virtio_candidates()))
        else:
            read = {k: v for part in self._ahead for k, v in part.result().items()}
        found: dict[str, bytes] = {}
        unread: dict[str, str] = {}
        for file in sorted(read):
            result = read[file]
            if isinstance(result, VirtioTraceError):
                unread[file] = str(result)
            else:
                found[file] = result
        return found, unread

    def virtio_candidates(self) -> tuple[str, ...]:
        """Files worth opening, sorted: all of them where depmod was not run, else those that

        have an alias or a name with "virtio" in it, need a module with such a name, or are not
        the kernel's own (where nothing is known of names).
        """
        if not self.depends:
            return tuple(sorted(self.files.values()))
        named = {name for pattern, name in self.aliases if "virtio" in pattern}
        return tuple(
            sorted(
                file
                for name, file in self.files.items()
                if name in named
                or "virtio" in name
                or not file.startswith("kernel/")
                or any("virtio" in need for need in self.depends.get(file, ()))
            )
        )

    def _read_marked(self, file: str) -> bytes | VirtioTraceError | None:
        """The file's bytes, None where nothing in it is of virtio; an error as a value.

        A damaged file may have lost its names: it is passed on, to be refused with its reason.
        """
        try:
            data = self.read(file)
        except VirtioTraceError as error:
            return error
        return data if _MARK in data or not _is_whole(data) else None

    def _lines(self, name: str) -> list[str]:
        try:
            return compression.read_file(self.path / name).decode("utf-8", "replace").splitlines()
        except BadInputError:
            return []

    def _walk(self) -> list[str]:
        """The files by looking, those of updates/ and extra/ first; links are not followed."""
        out = []
        for folder, folders, files in os.walk(self.path):
            here = os.path.relpath(folder, self.path)
            if here == ".":
                folders[:] = [name for name in folders if name not in _NOT_MODULES]
            out += [os.path.normpath(f"{here}/{name}") for name in files if _SUFFIX.search(name)]
        return sorted(out, key=lambda file: (not file.startswith(_FIRST), file))


def _is_whole(data: bytes) -> bool:
    """Whether it is an ELF file whose section table, which is at its end, is there."""
    if len(data) < 64 or data[:4] != b"\x7fELF":
        return False
    start = int.from_bytes(data[40:48], "little")
    count = int.from_bytes(data[60:62], "little")
    return data[4:6] != b"\x02\x01" or start + 64 * count <= len(data)
