# SPDX-License-Identifier: GPL-2.0-or-later
"""What one part of virtio-trace writes, another one must read: there a refusal is a fault too."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from typing import Any

from virtio_trace.errors import VirtioTraceError


@contextlib.contextmanager
def accepted() -> Iterator[None]:
    """Within, a VirtioTraceError is an AssertionError."""
    try:
        yield
    except VirtioTraceError as error:
        raise AssertionError(f"refused, though it is our own: {error}") from error


def through_json(thing: Any) -> Any:
    """THING as it is once it was written to a recording and read."""
    return json.loads(json.dumps(thing))
