# SPDX-License-Identifier: GPL-2.0-or-later
"""virtio-trace inspect: what a kernel's files say."""

from __future__ import annotations

import gc
from pathlib import Path

import click

from virtio_trace.cli import common
from virtio_trace.cli.say import say, warn
from virtio_trace.errors import BadInputError, UsageError
from virtio_trace.inspection import Inspection
from virtio_trace.kernel import survey
from virtio_trace.kernel.modules import ModuleTree
from virtio_trace.kernel.running import Running
from virtio_trace.render import json
from virtio_trace.render.inspection import inspection

_HINT = "name .ko, .ko.xz or .ko.zst files of a kernel, x86-64 or arm64"


@click.command()
@click.argument("paths", metavar="[MODULES-DIR | FILE.ko ...]", nargs=-1)
@click.option(
    "--kernel",
    metavar="VMLINUZ",
    help="Read this kernel image too: what is built in (x86-64), and the layout of structs. Alone:"
    " with the modules that stand beside it.",
)
@common.output_options("table", "json")
def command(paths: tuple[str, ...], kernel: str | None, style: str, verbose: bool) -> int:
    """Show every virtio driver and transport in a kernel's files.

    Each with its device types, its tables of feature bits, its functions, and the calls that
    register it, as the files themselves prove it. The files are those of a folder of modules,
    /lib/modules/$(uname -r) where none is named, or .ko files. They need not be of the running
    kernel, nor of this machine, x86-64 or arm64; root is not needed, and nothing is run.

    What cannot be read is named on standard error. Exits with 5 where nothing could be.
    """
    gc.disable()  # nothing that is read here is garbage before the process ends
    found = _inspect([Path(path) for path in paths], Path(kernel) if kernel else None)
    _say_unread(found, len(set(paths)) if paths and not Path(paths[0]).is_dir() else None)
    if verbose:
        say(f"types are those of {found.image or 'no image'}")
    with common.result_output() as out:
        if style == "json":
            json.inspection(found.to_json(), out)
        else:
            inspection(found.to_json(), out, common.width_of(out), common.paint_for(out))
    return 0


def _say_unread(found: Inspection, files: int | None) -> None:
    """A line a file; where all FILES that were named are among them, the end."""
    reasons = [f"{file}: {reason}" for file, reason in found.unread.items()]
    if files == len(reasons) == 1:
        raise BadInputError(reasons[0], _HINT)
    for reason in reasons:
        warn(reason)
    if files == len(reasons):
        raise BadInputError("none of the files could be read", _HINT)


def _inspect(paths: list[Path], kernel: Path | None) -> Inspection:
    folders = [path for path in paths if path.is_dir()]
    if folders and len(paths) > 1:
        raise UsageError(
            f"{folders[0]}: is a folder, and not all that is named", "name one folder, or files"
        )
    if folders:
        return survey.inspect_tree(ModuleTree(folders[0]), kernel)
    if paths:
        return survey.inspect_files(paths, kernel)
    if kernel:
        return survey.inspect_image(kernel)
    return survey.inspect_tree(ModuleTree(Running().module_tree))
