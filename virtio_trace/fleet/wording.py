# SPDX-License-Identifier: GPL-2.0-or-later
"""Texts by which recordings are grouped and ordered."""

from __future__ import annotations

import re

_PATTERNS = (
    (re.compile(r"; the kernel's log: .*", re.DOTALL), ""),  # not every recorder reads the log
    (re.compile(r"\b[0-9a-f]{4,8}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]\b"), "ADDRESS"),  # PCI
    (re.compile(r"\b[0-9a-f]\.[0-3]\.[0-9a-f]{4}\b"), "ADDRESS"),  # CCW
    (re.compile(r"\b[0-9a-f]{3,16}\.virtio_mmio\b|\bvirtio-mmio\.\d+\b"), "ADDRESS"),
    (re.compile(r"\bvirtio\d+\b"), "virtioN"),
    # A count. Not an errno (-22), a version or section (5.1.3.1), or a hexadecimal number.
    (re.compile(r"(?<![\w.:+-])\d+(?![\w:]|\.\d)"), "N"),
)
_RELEASE = re.compile(
    r"(?P<numbers>\d+(?:\.\d+)*)(?:-rc(?P<candidate>\d+))?(?P<rest>.*)", re.DOTALL
)
_RELEASED = 999_999
"""The number of a release among its candidates."""


def pattern(message: str) -> str:
    """MESSAGE without what differs between machines: bus addresses, virtioN, counts, the kernel's
    log."""
    for form, word in _PATTERNS:
        message = form.sub(word, message)
    return message


def kernel_order(release: str) -> str:
    """A text that sorts as the kernel RELEASE does: 6.12 after 6.1, 6.2-rc1 before 6.2."""
    found = _RELEASE.fullmatch(release)
    if found is None:
        return release
    version = [*map(int, found["numbers"].split(".")), 0, 0, 0][:3]
    candidate = int(found["candidate"]) if found["candidate"] else _RELEASED
    numbers = ".".join(f"{number:06}" for number in (*version, candidate))
    return numbers + re.sub(r"\d+", lambda digits: digits[0].zfill(6), found["rest"])
