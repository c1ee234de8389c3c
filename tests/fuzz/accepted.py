# SPDX-License-Identifier: GPL-2.0-or-later
"""For output of virtio-trace that another part of it reads: refusing it is a fault."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from typing import Any

from virtio_trace.errors import VirtioTraceError


@contextlib.contextmanager
def accepted() -> Iterator[None]:
    """Inside, a VirtioTraceError becomes an AssertionError."""
    try:
        yield
    except VirtioTraceError as error:
        raise AssertionError(f"refused, though it is our own: {error}") from error


def through_json(thing: Any) -> Any:
    """THING after it was written as JSON and read back."""
    return json.loads(json.dumps(thing))
