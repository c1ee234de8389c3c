# SPDX-License-Identifier: GPL-2.0-or-later
"""The part of virtio-trace inspect that is imported while files are already being read."""

from __future__ import annotations

from pathlib import Path

from virtio_trace.cli.support import formats, results
from virtio_trace.cli.support.say import say, warn
from virtio_trace.errors import BadInputError
from virtio_trace.kernel.drivers import inspect
from virtio_trace.kernel.drivers.inspection import Inspection
from virtio_trace.kernel.files.machine import NAMES
from virtio_trace.kernel.files.module_tree import ModuleTree

_HINT = f"name .ko, .ko.xz or .ko.zst files of a kernel for {NAMES}"


def run(
    tree: ModuleTree | None,
    files: list[Path],
    kernel: Path | None,
    row: formats.Format,
    verbose: bool,
) -> None:
    """Inspect TREE, else FILES, else the image KERNEL alone, and print the result as ROW."""
    if tree:
        found = inspect.inspect_tree(tree, kernel)
    elif files or kernel is None:
        found = inspect.inspect_files(files, kernel)
    else:
        found = inspect.inspect_image(kernel)
    _say_unread(found, len(set(files)) or None)
    if verbose:
        say(f"types are from {found.image or 'no image'}")
    results.show(row, found.to_json())


def _say_unread(found: Inspection, files: int | None) -> None:
    """A line per file that could not be read. Raises BadInputError where none could, of the FILES
    that were named or else of the tree."""
    reasons = [f"{file}: {reason}" for file, reason in found.unread.items()]
    if files == len(reasons) == 1:
        raise BadInputError(reasons[0], _HINT)
    for reason in reasons:
        warn(reason)
    if files == len(reasons) or found.nothing_read:
        raise BadInputError("none of the files could be read", _HINT)
