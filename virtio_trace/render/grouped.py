# SPDX-License-Identifier: GPL-2.0-or-later
"""The findings of a check, one for each message, as summaries and annotations show them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from virtio_trace.check.findings import ERROR, NOTE, WARNING, Result
from virtio_trace.report.cases import by_message, places


class Group(NamedTuple):
    """A message of findings of one severity; ``places``: subjects and steps that it is about."""

    severity: str
    message: str
    places: list[str]


def groups(result: Result, severities: tuple[str, ...] = (ERROR, WARNING, NOTE)) -> Iterator[Group]:
    """The groups of RESULT, the most severe first."""
    for severity in severities:
        for message, found in by_message(result, severity).items():
            yield Group(severity, message, places(found))


def shortened(names: list[str], most: int) -> str:
    """NAMES, at most MOST of them, and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return f"{', '.join(names[:most])}{more}"
