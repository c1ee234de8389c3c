# SPDX-License-Identifier: GPL-2.0-or-later
"""What is said if a library of an extra is not installed."""

from __future__ import annotations

from virtio_trace.errors import CannotTraceError


def missing(library: str, extra: str) -> CannotTraceError:
    """The error for LIBRARY, which EXTRA of this package installs."""
    return CannotTraceError(
        f"Python package {library} is not installed",
        f"install extra {extra}, in a clone of virtio-trace: pip install '.[{extra}]'",
    )
