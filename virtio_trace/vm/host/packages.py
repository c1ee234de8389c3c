# SPDX-License-Identifier: GPL-2.0-or-later
"""Unpacks Debian packages for a guest: fetched from the machine's mirror, never installed."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from virtio_trace.errors import CannotTraceError
from virtio_trace.vm.host.apt import GoneError, Suite
from virtio_trace.vm.host.programs import Progress, run

_SETTLED = 60.0
"""An index older than this many seconds may be stale, and is fetched again."""


def unpack(suite: Suite, names: Iterable[str], scratch: Path, progress: Progress) -> Path:
    """Fetches the newest version of each package in NAMES and unpacks all of them into one tree
    below SCRATCH. Returns the tree.

    Raises CannotTraceError when SUITE lacks a package, the mirror cannot be reached, or apt or dpkg
    fails.
    """
    suite.refresh(progress)
    tree = scratch / "tree"
    for name in names:
        deb = _download(suite, name, scratch, progress)
        run(["dpkg", "-x", str(deb), str(tree)], f"unpacking {deb.name}")
        deb.unlink()
    return tree


def _download(suite: Suite, name: str, into: Path, progress: Progress) -> Path:
    try:
        return _newest(suite, name, into, progress)
    except GoneError:
        if suite.age <= _SETTLED:
            raise
        # The mirror has replaced the version that our copy of its index names.
        suite.refresh(progress, _SETTLED)
        return _newest(suite, name, into, progress)


def _newest(suite: Suite, name: str, into: Path, progress: Progress) -> Path:
    package = suite.show(name)
    if package is None:
        machine = f" for {suite.architecture}" if suite.architecture else ""
        raise CannotTraceError(f"{suite.name} has no {name}{machine}")
    return suite.download(package, into, progress)
