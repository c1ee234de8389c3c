# SPDX-License-Identifier: GPL-2.0-or-later
"""Puts the recorder in front of an initrd that somebody else made, which is not changed.

The kernel unpacks archives that stand one behind another into one root (Documentation/
driver-api/early-userspace/buffer-format.rst). Ours comes first, uncompressed, all of it in a folder
of its own; guest/early there is the first process (rdinit=) and becomes the initrd's own.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from virtio_trace.bpf_source import bpf_folder
from virtio_trace.errors import BadInputError, UsageError
from virtio_trace.vm.disk.attach import Disk
from virtio_trace.vm.host import cache
from virtio_trace.vm.root import appliance, payload, until
from virtio_trace.vm.root.cpio import Writer, append_file, find

FOLDER = "virtio-trace"
_SCRIPTS = ("early", "nest", "recorder")
_BUSYBOX = "usr/bin/busybox"

FIRST = f"rdinit=/{FOLDER}/early"
"""Before everything else: the kernel forgets what it had for its first process when it reads it
(init/main.c, rdinit_setup)."""
_LAST = "ignore_loglevel no_timer_check console=ttyS0"
"""The last console= is /dev/console. No panic=: initramfs-tools would switch the machine off in
place of its emergency shell, and the recording would have no end."""

_OUR_PORT = re.compile(r"console=ttyS1(,.*)?")

TEXT = "text:"

MEMORY = 512
"""MiB for the other system, beside what the recorder needs: Debian's boots in less."""


@dataclass(frozen=True, slots=True)
class Until:
    """When a recording is enough. ``kind`` is one of until's; ASKED with ``text``: the host asks
    for the end once the console has said that."""

    kind: str = until.RUNNING
    seconds: float = until.QUIET_SECONDS
    text: str = ""

    @property
    def words(self) -> str:
        """As the guest's until takes it."""
        return f"{self.kind} {self.seconds:g}"


def parse_until(words: str) -> Until:
    """``running``, ``quiet``, ``quiet:SECONDS`` or ``text:TEXT``. Raises UsageError."""
    kind, colon, rest = words.partition(":")
    if kind == until.RUNNING and not colon:
        return Until()
    if kind == until.QUIET and not colon:
        return Until(until.QUIET)
    if kind == until.QUIET and re.fullmatch(r"\d{1,6}(\.\d{1,3})?", rest) and float(rest) > 0:
        return Until(until.QUIET, float(rest))
    if words.startswith(TEXT) and rest and "\n" not in rest:
        return Until(until.ASKED, text=rest)
    raise UsageError(
        f"--until {words!r} is not one of running, quiet, quiet:SECONDS, text:TEXT",
        "text:TEXT is what the console says, such as text:login:",
    )


@dataclass(frozen=True, slots=True)
class ThirdPartySystem:
    """A system that somebody else made: its initrd's files in their order, the kernel options that
    it is to be booted with, and ``tree``, a folder with modprobe's configuration out of its root;
    None where that is unknown. ``disk`` is its image."""

    initrds: tuple[Path, ...]
    options: str = ""
    tree: Path | None = None
    until: Until = Until()
    disk: Disk | None = None

    def devices(self, options: tuple[str, ...]) -> tuple[str, ...]:
        """QEMU's options for it; OPTIONS are the user's."""
        return options if self.disk is None else self.disk.devices(options)


def options(foreign: ThirdPartySystem, append: str) -> str:
    """The kernel's command line for FOREIGN; APPEND is the user's own."""
    theirs, ours = (
        [word for word in _words(line) if not _OUR_PORT.fullmatch(word) and not _is_init(word)]
        for line in (foreign.options, append)
    )
    return " ".join([FIRST, *theirs, _LAST, *ours])


def first_process(foreign: ThirdPartySystem, append: str) -> str:
    """What is to be the first process in the initrd's root: /init, or what rdinit= says."""
    said = [w for w in [*_words(foreign.options), *_words(append)] if _is_init(w)]
    return said[-1].partition("=")[2] if said else "/init"


def _words(line: str) -> list[str]:
    """The options of a kernel command line; quotes keep blanks together and stay in it."""
    return re.findall(r'(?:[^\s"]|"[^"]*")+', line)


def _is_init(word: str) -> bool:
    return word.startswith("rdinit=")


def check_initrd(path: Path) -> Path:
    """PATH, resolved. Raises BadInputError where it cannot be read, or nothing is in it."""
    try:
        with path.open("rb") as file:
            head = file.read(4)
    except OSError as error:
        raise BadInputError(f"{path}: {error.strerror}", "name a readable initrd") from error
    if len(head) < 4:
        raise BadInputError(f"{path} is no initrd: it is empty", "give the initrd of a system")
    return path.resolve()


def write(
    out: BinaryIO, root: Path, foreign: ThirdPartySystem, modules: Path | None, append: str
) -> None:
    """Writes the guest's whole initrd to OUT. ROOT is the appliance's cpio; MODULES is the folder
    lib/modules/RELEASE of FOREIGN where that is at hand, all of which goes in.

    Raises OSError, BadInputError (a file of FOREIGN), CannotTraceError.
    """
    guest = payload.PACKAGE / "vm" / "guest"
    with Writer(out) as ours, root.open("rb") as archive, cache.scratch("payload") as scratch:
        for name in _SCRIPTS:
            ours.file(f"{FOLDER}/{name}", (guest / name).read_bytes(), 0o755)
        ours.file(f"{FOLDER}/next", f"{first_process(foreign, append)}\n".encode())
        busybox = find(archive, _BUSYBOX)
        assert busybox is not None
        ours.file(f"{FOLDER}/busybox", busybox, 0o755)
        _whole(ours, "appliance", root)
        own = scratch / "payload.cpio"
        with own.open("wb") as file:
            _payload(file, foreign, modules)
        _whole(ours, "payload", own)
    for initrd in foreign.initrds:
        out.write(b"\0" * (-out.tell() % 4))  # an archive begins at a multiple of four
        append_file(out, initrd)


def _whole(ours: Writer, name: str, path: Path) -> None:
    """A cpio as a file of ours: the guest unpacks it where it is not in the way."""
    with path.open("rb") as file:
        ours.stream(f"{FOLDER}/{name}.cpio", file, os.fstat(file.fileno()).st_size)


def _payload(out: BinaryIO, foreign: ThirdPartySystem, modules: Path | None) -> None:
    """What goes into the recorder's root behind the appliance."""
    guest = payload.PACKAGE / "vm" / "guest"
    with Writer(out) as root:
        root.file(f"{FOLDER}/recorder", (guest / "recorder").read_bytes(), 0o755)
        root.file(f"{FOLDER}/until", f"{foreign.until.words}\n".encode())
        root.folder(f"{FOLDER}/bin")
        target = f"{appliance.PYTHON_FOLDER}/virtio_trace"
        payload.add_package(root, payload.PACKAGE, target)
        payload.add_tree(root, bpf_folder(), f"{target}/bpf")
        if modules is not None and (modules / "modules.dep").exists():
            payload.add_tree(root, modules, f"usr/lib/modules/{modules.name}")
        elif modules is not None:
            payload.add_modules(root, modules)
        if foreign.tree is not None:
            payload.add_tree(root, foreign.tree / "etc", "etc")
