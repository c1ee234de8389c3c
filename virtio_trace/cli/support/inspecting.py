# SPDX-License-Identifier: GPL-2.0-or-later
"""What virtio-trace inspect does once its files are being read; see cli/inspect.py."""

from __future__ import annotations

import importlib
from pathlib import Path

from virtio_trace.cli.support import options
from virtio_trace.cli.support.say import say, warn
from virtio_trace.errors import BadInputError
from virtio_trace.kernel.drivers import inspect
from virtio_trace.kernel.drivers.inspection import Inspection
from virtio_trace.kernel.files.module_tree import ModuleTree
from virtio_trace.render import json

_HINT = "name .ko, .ko.xz or .ko.zst files of a kernel, x86-64 or arm64"


def run(
    tree: ModuleTree | None, files: list[Path], kernel: Path | None, style: str, verbose: bool
) -> None:
    """Print what TREE, else FILES, else KERNEL alone says. Raises any of our errors."""
    if tree:
        found = inspect.inspect_tree(tree, kernel)
    elif files or kernel is None:
        found = inspect.inspect_files(files, kernel)
    else:
        found = inspect.inspect_image(kernel)
    _say_unread(found, len(set(files)) or None)
    if verbose:
        say(f"types are those of {found.image or 'no image'}")
    with options.result_output() as out:
        if style == "json":
            json.inspection(found.to_json(), out)
        else:
            table = importlib.import_module("virtio_trace.render.inspection")
            table.inspection(found.to_json(), out, options.width_of(out), options.paint_for(out))


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
