# SPDX-License-Identifier: GPL-2.0-or-later
"""A module tree, .../lib/modules/RELEASE: its files, and what depmod's files say of them.

It may come straight from ``dpkg -x``, without depmod's files. It is never written to.
"""

from __future__ import annotations

import contextlib
import os
import re
import threading
from collections import deque
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

from virtio_trace.errors import BadInputError, VirtioTraceError
from virtio_trace.kernel.files import compression
from virtio_trace.kernel.files.background import BackgroundRead

_SUFFIX = re.compile(r"\.ko(\.(xz|zst|gz))?$")
_NOT_MODULES = ("build", "source", "vdso")
_FIRST = ("updates", "extra")
"""Folders whose modules replace the kernel's own (depmod.d(5), search)."""
MAX_KEPT = 512 << 20
"""Bytes of all files together that virtio_files returns. Debian's kernels have some 2 MB."""
_MAX_WORKERS = 8
"""Each may have a file of compression.MAX_BYTES in memory."""
_DAMAGED = 4096
"""Bytes of a damaged file that are kept: enough to say why it is refused."""
_MARK = b"register_virtio_d"
"""In the .strtab of every file that calls {,__}register_virtio_driver, register_virtio_device."""
_HINT = "give a folder such as /lib/modules/$(uname -r), or lib/modules/RELEASE in an unpacked .deb"


def module_name(file: str) -> str:
    """The module's name as in lsmod: ``kernel/x/virtio-rng.ko.xz`` is virtio_rng."""
    return _SUFFIX.sub("", file.rpartition("/")[2]).replace("-", "_")


def is_inside(name: str) -> bool:
    """Whether the relative path NAME stays below its folder, as text."""
    return not name.startswith("/") and ".." not in name.split("/") and "\0" not in name


class ModuleTree:
    """The modules of one kernel. File names are relative to ``path``, with ``/``."""

    def __init__(self, path: Path) -> None:
        """Raises BadInputError where PATH is not a folder, or has neither modules nor lists."""
        self.path = path
        self._lock = threading.Lock()
        self._total = 0
        self._ahead: list[BackgroundRead[dict[str, bytes | VirtioTraceError]]] | None = None
        try:
            entries = {entry.name for entry in path.iterdir()}
        except OSError as error:
            raise BadInputError(f"{path}: {error.strerror}", _HINT) from error
        if not entries & {"kernel", "modules.builtin", "modules.dep", *_FIRST} and not self.files:
            raise BadInputError(f"{path}: is not a module tree", _HINT)

    @property
    def release(self) -> str:
        """The kernel's release: the folder's name."""
        return self.path.absolute().name

    @cached_property
    def depends(self) -> dict[str, tuple[str, ...]]:
        """File to the files it depends on, from modules.dep; {} where depmod was not run.

        Names that lead out of the tree are left out: the tree may be anybody's.
        """
        return {
            file: tuple(name for name in needs if is_inside(name))
            for file, needs in self._listed()
            if is_inside(file)
        }

    @cached_property
    def outside(self) -> tuple[str, ...]:
        """Names in modules.dep that lead out of the tree: somebody made them so."""
        names = (name for file, needs in self._listed() for name in (file, *needs))
        return tuple(name for name in names if not is_inside(name))

    def _listed(self) -> Iterator[tuple[str, list[str]]]:
        for line in self._lines("modules.dep"):
            file, colon, needs = line.partition(":")
            if colon:
                yield file, needs.split()

    @cached_property
    def files(self) -> dict[str, str]:
        """Module name to file, from modules.dep, else from the folders."""
        listed = self.depends or self._walk()
        out: dict[str, str] = {}
        for file in listed:
            out.setdefault(module_name(file), file)
        return out

    @cached_property
    def builtin(self) -> tuple[str, ...]:
        """Names of the modules that are built into the kernel, from modules.builtin."""
        return tuple(module_name(line) for line in self._lines("modules.builtin") if line)

    @cached_property
    def builtin_aliases(self) -> dict[str, tuple[str, ...]]:
        """Built-in module to its aliases, from modules.builtin.modinfo, which has them since
        6.18; {} where it has none."""
        out: dict[str, list[str]] = {}
        for line in "\n".join(self._lines("modules.builtin.modinfo")).split("\0"):
            key, equals, value = line.partition("=")
            name, _, what = key.rpartition(".")
            if equals and what == "alias":
                out.setdefault(name, []).append(value)
        return {name: tuple(found) for name, found in out.items()}

    @cached_property
    def aliases(self) -> tuple[tuple[str, str], ...]:
        """(pattern, module) from modules.alias; () where depmod was not run."""
        words = (line.split() for line in self._lines("modules.alias"))
        return tuple((w[1], w[2]) for w in words if len(w) == 3 and w[0] == "alias")

    def read(self, file: str) -> bytes:
        """The uncompressed bytes of one file. Raises BadInputError, CannotTraceError."""
        path = self.path / file
        return compression.unpack(compression.read_file(path), str(path))

    def read_ahead(self) -> None:
        """Start reading what virtio_files returns, in other threads, where that pays."""
        names = self.virtio_candidates()
        if self._ahead is None and len(names) > 3 and any(not n.endswith(".ko") for n in names):
            files = deque(names)  # shared: a task per file would cost more than reading it
            workers = range(min(os.cpu_count() or 1, _MAX_WORKERS))  # lzma, libzstd drop the GIL
            self._ahead = [BackgroundRead(lambda: self._read_from(files)) for _ in workers]

    def _read_from(self, files: deque[str]) -> dict[str, bytes | VirtioTraceError]:
        found: dict[str, bytes | VirtioTraceError] = {}
        with contextlib.suppress(IndexError):  # popleft is atomic
            while True:
                file = files.popleft()
                result = self._read_marked(file)
                if result is not None:
                    found[file] = self._kept(file, result)
        return found

    def _kept(self, file: str, result: bytes | VirtioTraceError) -> bytes | VirtioTraceError:
        """RESULT, or an error where the files so far take too much memory already."""
        size = len(result) if isinstance(result, bytes) else 0
        with self._lock:
            if self._total + size > MAX_KEPT:
                why = f"this file and those before it have more than {MAX_KEPT >> 20} MB"
                return BadInputError(f"{self.path / file}: {why}", _HINT)
            self._total += size
        return result

    def virtio_files(self) -> tuple[dict[str, bytes], dict[str, str]]:
        """Files that may register a virtio driver or device, with their bytes; and files that could
        not be read, with the reason.

        With depmod's files some dozen files are opened. Without them all are, which takes seconds
        where they are compressed. Together they have at most MAX_KEPT bytes.
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
        """Files worth opening, sorted. Where depmod was not run, all of them.

        Else those with "virtio" in their name, in an alias, or in the name of a module that they
        depend on, and those that are not the kernel's own, whose names say nothing.
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
        """The file's bytes; None: it has nothing to do with virtio; an error as a value.

        A damaged file may have lost its names: its start is passed on, to be refused with a reason.
        """
        try:
            data = self.read(file)
        except VirtioTraceError as error:
            return error
        if not _is_whole(data):
            return data[:_DAMAGED]
        return data if _MARK in data else None

    def _lines(self, name: str) -> list[str]:
        try:
            return compression.read_file(self.path / name).decode("utf-8", "replace").splitlines()
        except BadInputError:
            return []

    def _walk(self) -> list[str]:
        """The files in the folders, updates/ and extra/ first; links are not followed."""
        out = []
        for folder, folders, files in os.walk(self.path):
            here = os.path.relpath(folder, self.path)
            if here == ".":
                folders[:] = [name for name in folders if name not in _NOT_MODULES]
            out += [os.path.normpath(f"{here}/{name}") for name in files if _SUFFIX.search(name)]
        return sorted(out, key=lambda file: (not file.startswith(_FIRST), file))


def _is_whole(data: bytes) -> bool:
    """Whether it is an ELF file with its section table, which is at its end."""
    if len(data) < 64 or data[:4] != b"\x7fELF":
        return False
    start = int.from_bytes(data[40:48], "little")
    count = int.from_bytes(data[60:62], "little")
    return data[4:6] != b"\x02\x01" or start + 64 * count <= len(data)
