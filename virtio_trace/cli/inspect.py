# SPDX-License-Identifier: GPL-2.0-or-later
"""virtio-trace inspect: the VirtIO drivers and transports in a kernel's files."""

from __future__ import annotations

import gc
import importlib
import os
import sys
from pathlib import Path

import click

from virtio_trace.cli.support import formats, options
from virtio_trace.cli.support.help import Command, Example
from virtio_trace.errors import UsageError
from virtio_trace.kernel.files.machine import NAMES_IN_IMAGE
from virtio_trace.kernel.files.module_tree import ModuleTree
from virtio_trace.kernel.running.host import HostKernel

_SWITCH = 0.0002
"""Seconds after which a computing thread yields to one that has unpacked a file."""

_EXAMPLES = (
    Example("Show the drivers of the running kernel", "virtio-trace inspect"),
    Example(
        "Show what a module has that was just built",
        "virtio-trace inspect drivers/net/virtio_net.ko",
    ),
)


@click.command(cls=Command, examples=_EXAMPLES)
@click.argument("paths", metavar="[MODULES-DIR | FILE.ko ...]", nargs=-1)
@click.option(
    "--kernel",
    metavar="VMLINUZ",
    help=f"Read this kernel image too, for built-in drivers ({NAMES_IN_IMAGE}) and the layout of"
    " structs. Without other arguments, also read its modules if they are found.",
)
@options.output_options("inspect")
@options.with_machines
def command(paths: tuple[str, ...], kernel: str | None, row: formats.Format, verbose: bool) -> int:
    """Show every VirtIO driver and transport in a kernel's files.

    Each is shown with its device types, feature bits and functions, and with the calls that
    register it, all as read from the files. These are .ko files or a folder of modules, by default
    /lib/modules/$(uname -r). They may belong to any kernel for {machines}. Root is not needed,
    and nothing is run.

    Files that cannot be read are named on standard error. The exit status is 5 if none could be
    read.
    """
    gc.disable()  # nothing that is read here becomes garbage before the process ends
    image = Path(kernel) if kernel else None
    tree = _tree([Path(path) for path in paths], image)
    if tree:
        sys.setswitchinterval(_SWITCH)
        tree.read_ahead()
    # Imported only now: most of the time it takes passes while the modules are unpacked.
    inspecting = importlib.import_module("virtio_trace.cli.support.inspecting")
    files = [] if tree else [Path(path) for path in paths]
    inspecting.run(tree, files, image, row, verbose)
    return 0


def _tree(paths: list[Path], kernel: Path | None) -> ModuleTree | None:
    """The named folder; the running kernel's if nothing is named; None if files are."""
    folders = [path for path in paths if os.path.isdir(path)]  # noqa: PTH112
    if folders and len(paths) > 1:
        raise UsageError(
            f"{folders[0]}: is a folder, and other files are named", "name one folder, or files"
        )
    if folders:
        return ModuleTree(folders[0])
    return None if paths or kernel else ModuleTree(HostKernel().module_tree)
