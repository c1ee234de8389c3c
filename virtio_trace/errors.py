# SPDX-License-Identifier: GPL-2.0-or-later
"""One tree of exceptions. Each class has the exit status of the command that it ends.

The message is one line that says what is wrong; ``hint`` is one line that says what to do. An
exception of a library is turned into one of these where the library is called.
"""

from __future__ import annotations


class VirtioTraceError(Exception):
    """The root of the tree. ``hint`` may be empty."""

    status = 1

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class UsageError(VirtioTraceError):
    """Invalid arguments, e.g. a malformed device address."""

    status = 2


class CannotTraceError(VirtioTraceError):
    """This machine or kernel cannot do what was asked: no kprobes, no BTF, not root, no QEMU."""

    status = 3


class IncompleteError(VirtioTraceError):
    """The work was begun but could not be finished: the guest died, a timeout, a full disk."""

    status = 4


class BadInputError(VirtioTraceError):
    """A file is not what it should be, or is damaged: a recording, a .ko, a kernel image."""

    status = 5
