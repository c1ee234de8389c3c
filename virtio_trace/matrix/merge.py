# SPDX-License-Identifier: GPL-2.0-or-later
"""Shards of a matrix, put together: every case of the plan once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from virtio_trace.errors import IncompleteError, UsageError
from virtio_trace.matrix.case import CaseResult
from virtio_trace.matrix.folder import MatrixFolder

_SAME = ("name", "version", "kernels", "boards", "cases")


def merge(sources: Sequence[MatrixFolder], target: MatrixFolder) -> dict[str, CaseResult]:
    """Copies the cases of SOURCES into TARGET, and returns their results by name.

    Raises UsageError if SOURCES are not of one plan, or a case is in two of them; BadInputError if
    one of them is damaged; IncompleteError if TARGET cannot be written.
    """
    plan = _plan(sources)
    whose: dict[str, MatrixFolder] = {}
    results: dict[str, CaseResult] = {}
    for name in plan["cases"]:
        for source in sources:
            result = source.result(name)
            if result is None:
                continue
            if name in whose:
                raise UsageError(
                    f"case {name} is in {whose[name].path} and in {source.path}",
                    "leave one of them out: shards have no case in common",
                )
            whose[name], results[name] = source, result
    target.write_plan({key: plan[key] for key in _SAME} | {"shard": [1, 1]})
    for name, source in whose.items():
        try:
            target.adopt(name, source.case(name))
        except OSError as error:
            raise IncompleteError(f"{target.path}: cannot write: {error.strerror}") from error
    return results


def _plan(sources: Sequence[MatrixFolder]) -> dict[str, Any]:
    """The plan of all SOURCES."""
    first = sources[0].plan()
    for source in sources:
        plan = source.plan()
        if any(plan.get(key) != first.get(key) for key in _SAME):
            raise UsageError(
                f"{sources[0].path} and {source.path} are of different plans or versions",
                "merge the shards of one plan",
            )
    return first
