# SPDX-License-Identifier: GPL-2.0-or-later
"""One tree of exceptions. Each class has the exit status that the command ends with.

Every message is one line that says what is wrong; ``hint`` is one line that says what to do.
Third-party exceptions are turned into one of these at the one place that calls the third party.
"""

from __future__ import annotations


class VirtioTraceError(Exception):
    """The root. ``hint`` may be empty where there is nothing to advise."""

    status = 1

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class UsageError(VirtioTraceError):
    """The command line asks for something that cannot be (a device address that is none, ...)."""

    status = 2


class CannotTraceError(VirtioTraceError):
    """This machine or kernel cannot do what was asked: no kprobes, no BTF, no root, no QEMU."""

    status = 3


class IncompleteError(VirtioTraceError):
    """What was asked was begun and did not come to its end: a guest that died, a timeout."""

    status = 4


class BadInputError(VirtioTraceError):
    """A file is not what it should be: a recording, a .ko, a kernel image."""

    status = 5
