# SPDX-License-Identifier: GPL-2.0-or-later
"""Puts the recorder in front of a third party's initrd, which is not changed.

The kernel unpacks concatenated archives into one root (Documentation/driver-api/early-userspace/
buffer-format.rst). Ours comes first, uncompressed, with all files in one folder (recorder.py).

See docs/decisions/0019.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from virtio_trace.errors import BadInputError, UsageError
from virtio_trace.kernel.files.machine import X86_64
from virtio_trace.vm.disk.attach import Disk
from virtio_trace.vm.host.programs import is_text
from virtio_trace.vm.root import recorder, until
from virtio_trace.vm.root.cpio import Writer, append_file
from virtio_trace.vm.root.until import Until

_LAST = "ignore_loglevel no_timer_check console=ttyS0"
"""The last console= is /dev/console. No panic=: with it initramfs-tools would reboot instead of
starting its emergency shell, and the recording would have no end."""

_OUR_PORT = re.compile(rf"console={X86_64.port}(,.*)?")

TEXT = "text:"

MEMORY = 512
"""MiB for the third-party system, in addition to what the recorder needs. Debian boots in less."""

MOST_INITRD = 2 << 30
"""Bytes of an initrd. More cannot be loaded below 4 GiB, next to the kernel."""


def parse_until(words: str) -> Until:
    """``running``, ``quiet``, ``quiet:SECONDS`` or ``text:TEXT``. Raises UsageError."""
    kind, colon, rest = words.partition(":")
    if kind == until.RUNNING and not colon:
        return Until()
    if kind == until.QUIET and not colon:
        return Until(until.QUIET)
    if kind == until.QUIET and re.fullmatch(r"[0-9]{1,6}(\.[0-9]{1,3})?", rest) and float(rest) > 0:
        return Until(until.QUIET, float(rest))
    if words.startswith(TEXT) and rest and "\n" not in rest and is_text(rest):
        return Until(until.ASKED, text=rest)
    raise UsageError(
        f"--until {words!r} is not one of running, quiet, quiet:SECONDS, text:TEXT",
        "TEXT is what the console prints, as in text:login:",
    )


@dataclass(frozen=True, slots=True)
class ThirdPartySystem:
    """A system that somebody else built: its initrd's files in their order, its kernel options, and
    ``tree``, a folder with modprobe's configuration out of its root; None if unknown. ``disk`` is
    its image. ``only_initrd``: the modules that are known are those of its initrd."""

    initrds: tuple[Path, ...]
    options: str = ""
    tree: Path | None = None
    until: Until = field(default_factory=Until)
    disk: Disk | None = None
    only_initrd: bool = False

    def devices(self, options: tuple[str, ...]) -> tuple[str, ...]:
        """QEMU's options for its devices; OPTIONS are the user's. Raises UsageError."""
        return options if self.disk is None else self.disk.devices(options)


def options(system: ThirdPartySystem, append: str) -> str:
    """The kernel's command line for SYSTEM; APPEND is the user's addition.

    Ours comes first: the kernel drops the arguments of the first process that came before rdinit=
    (init/main.c, rdinit_setup)."""
    theirs, ours = (
        [word for word in _words(line) if not _OUR_PORT.fullmatch(word) and not _is_init(word)]
        for line in (system.options, append)
    )
    return " ".join([recorder.FIRST, *theirs, _LAST, *ours])


def first_process(system: ThirdPartySystem, append: str) -> str:
    """The first process of SYSTEM in its initrd: /init, or what rdinit= names."""
    said = [w for w in [*_words(system.options), *_words(append)] if _is_init(w)]
    return said[-1].partition("=")[2] if said else "/init"


def _words(line: str) -> list[str]:
    """The options of a kernel command line. Quotes keep blanks together and are kept."""
    return re.findall(r'(?:[^\s"]|"[^"]*")+', line)


def _is_init(word: str) -> bool:
    return word.startswith("rdinit=")


def check_initrd(path: Path) -> Path:
    """PATH, resolved. Raises BadInputError if it cannot be read, is empty or is too large."""
    try:
        if not path.is_file():  # opening a FIFO would wait for ever
            path.stat()
            raise BadInputError(f"{path} is not a file", "name a readable initrd")
        with path.open("rb") as file:
            head, size = file.read(4), os.fstat(file.fileno()).st_size
    except (OSError, ValueError) as error:  # ValueError: a zero byte
        reason = getattr(error, "strerror", None) or error
        raise BadInputError(f"{path}: {reason}", "name a readable initrd") from error
    if len(head) < 4:
        raise BadInputError(f"{path} is not an initrd: it is empty", "give the initrd of a system")
    if size > MOST_INITRD:
        raise BadInputError(f"{path} has {size >> 20} MiB: no initrd is that large", "name another")
    return path.resolve()


def write(
    out: BinaryIO,
    system: ThirdPartySystem,
    first: Callable[[Writer], None],
) -> None:
    """Writes the guest's whole initrd to OUT: what FIRST adds, and SYSTEM's own archives after it.

    Raises OSError, BadInputError (a file of SYSTEM), CannotTraceError.
    """
    with Writer(out) as ours:
        first(ours)
    for initrd in system.initrds:
        out.write(b"\0" * (-out.tell() % 4))  # an archive begins at a multiple of four bytes
        append_file(out, initrd)
