# SPDX-License-Identifier: GPL-2.0-or-later
"""virtio-trace inspect: what a kernel's files say."""

from __future__ import annotations

import gc
import importlib
import os
import sys
from pathlib import Path

import click

from virtio_trace.cli.support import options
from virtio_trace.errors import UsageError
from virtio_trace.kernel.files.module_tree import ModuleTree
from virtio_trace.kernel.running.host import HostKernel

_SWITCH = 0.0002
"""Seconds after which a thread that computes lets another one go on that has unpacked a file."""


@click.command()
@click.argument("paths", metavar="[MODULES-DIR | FILE.ko ...]", nargs=-1)
@click.option(
    "--kernel",
    metavar="VMLINUZ",
    help="Read this kernel image too: what is built in (x86-64), and the layout of structs. Alone:"
    " with the modules that stand beside it.",
)
@options.output_options("table", "json")
def command(paths: tuple[str, ...], kernel: str | None, style: str, verbose: bool) -> int:
    """Show every virtio driver and transport in a kernel's files.

    Each with its device types, its tables of feature bits, its functions, and the calls that
    register it, as the files themselves prove it. The files are those of a folder of modules,
    /lib/modules/$(uname -r) where none is named, or .ko files. They need not be of the running
    kernel, nor of this machine, x86-64 or arm64; root is not needed, and nothing is run.

    What cannot be read is named on standard error. Exits with 5 where nothing could be.
    """
    gc.disable()  # nothing that is read here is garbage before the process ends
    image = Path(kernel) if kernel else None
    tree = _tree([Path(path) for path in paths], image)
    if tree:
        sys.setswitchinterval(_SWITCH)
        tree.read_ahead()
    # Only now what takes its time: a good part of it passes while the modules are unpacked.
    inspecting = importlib.import_module("virtio_trace.cli.support.inspecting")
    files = [] if tree else [Path(path) for path in paths]
    inspecting.run(tree, files, image, style, verbose)
    return 0


def _tree(paths: list[Path], kernel: Path | None) -> ModuleTree | None:
    """The folder that is named or, where nothing is, this kernel's; None where files are."""
    folders = [path for path in paths if os.path.isdir(path)]  # noqa: PTH112
    if folders and len(paths) > 1:
        raise UsageError(
            f"{folders[0]}: is a folder, and not all that is named", "name one folder, or files"
        )
    if folders:
        return ModuleTree(folders[0])
    return None if paths or kernel else ModuleTree(HostKernel().module_tree)
