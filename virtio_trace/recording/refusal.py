# SPDX-License-Identifier: GPL-2.0-or-later
"""Lines of the kernel's log that say why a module could not be loaded, and with which error.

Each form is a message of kernel/module (kernel/module.c before 5.18) or arch/x86/kernel/module.c.
Some do not name the module: its signature and its ELF header are checked before its name is read.
A module whose signature does not match its content is refused without a message; what modprobe
printed is then the only evidence, where our guest's script wrote that into the log.
"""

from __future__ import annotations

import errno
import os
import re
from dataclasses import dataclass

from virtio_trace.virtio.numbers import errno_name

LOADER = "virtio-trace: modprobe: "
"""Begins the log's lines in which vm/guest/drive quotes modprobe's standard error."""

_NAME = r"(?P<module>[A-Za-z0-9_-]{1,64})"
_PREFIX = re.compile(r"(?:module: )?(?:x86/modules: )?")
_FORMS: tuple[tuple[re.Pattern[str], int], ...] = tuple(
    (re.compile(form), number)
    for form, number in (
        (rf"{_NAME}: version magic '.*' should be '", errno.ENOEXEC),
        (rf"{_NAME}: disagrees about version of symbol ", errno.EINVAL),
        (rf"{_NAME}: no symbol version for ", errno.EINVAL),
        (rf"{_NAME}: exports duplicate symbol ", errno.ENOEXEC),
        (rf"{_NAME}: module has no symbols ", errno.ENOEXEC),
        (rf"{_NAME}: No module found in object", errno.ENOEXEC),
        (rf"{_NAME}: Unknown rela relocation: ", errno.ENOEXEC),
        (rf"module {_NAME}: \.gnu\.linkonce\.this_module section size must match", errno.ENOEXEC),
        (rf"`{_NAME}' likely not compiled with -mcmodel=kernel", errno.ENOEXEC),
        (r"Skipping invalid relocation target, ", errno.ENOEXEC),
        (r"Loading of (?:unsigned module|module with .{1,40}) is rejected", errno.EKEYREJECTED),
        (r"Lockdown: .{1,40}: unsigned module loading is restricted", errno.EPERM),
        (r"Invalid ELF ", errno.ENOEXEC),
        (r"decompression failed with status ", errno.EINVAL),
    )
)
_UNKNOWN_SYMBOL = re.compile(rf"{_NAME}: Unknown symbol .{{1,512}} \(err -?([0-9]{{1,4}})\)")
_LOADER = re.compile(
    rf"{LOADER}(?:ERROR: could not insert '|can't load module ){_NAME}(?:'| \(.{{1,200}}\))"
    r": (?P<words>.{1,200})"
)
"""kmod's line, and busybox's."""
_BY_WORDS = {os.strerror(number).lower(): number for number in errno.errorcode} | {
    "invalid module format": errno.ENOEXEC,
    "unknown symbol in module, or unknown parameter (see dmesg)": errno.ENOENT,
    "unknown symbol in module, or unknown parameter": errno.ENOENT,
    "module has wrong symbol version": errno.ESRCH,
    "module has invalid parameters": errno.EINVAL,
    "kernel does not have requested module": errno.ENOSYS,
}
"""libc's words for errors, and their own (tools/modprobe.c of kmod, modutils.c of busybox)."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """A load that failed. ``module`` is None if the line does not name it, ``number`` the positive
    errno, None if unknown. ``by_loader``: modprobe says so, not the kernel; then the kernel may
    have refused a module that this one needs. ``text`` is what either printed."""

    module: str | None
    number: int | None
    text: str
    by_loader: bool = False

    @property
    def error(self) -> str:
        """``-8 (ENOEXEC)``, or "" if it is unknown."""
        return "" if self.number is None else f"-{self.number} ({errno_name(-self.number)})"


def read(text: str) -> Refusal | None:
    """The refusal that the message TEXT reports, or None."""
    if found := _LOADER.fullmatch(text):
        number = _BY_WORDS.get(found["words"].lower())
        said = text.removeprefix(LOADER).removeprefix("ERROR: ")
        return Refusal(_plain(found["module"]), number, said, by_loader=True)
    start = _PREFIX.match(text)
    at = start.end() if start else 0
    if found := _UNKNOWN_SYMBOL.match(text, at):
        return Refusal(_plain(found["module"]), int(found[2]) or None, text)
    for form, number in _FORMS:
        if found := form.match(text, at):
            return Refusal(_plain(found.groupdict().get("module")), number, text)
    return None


def _plain(name: str | None) -> str | None:
    """A module's name as the kernel knows it."""
    return None if name is None else name.replace("-", "_")
