# SPDX-License-Identifier: GPL-2.0-or-later
"""virtio-trace cmdline: the kernel parameters with which a kernel records its own early boot."""

from __future__ import annotations

import re
from pathlib import Path

import click

from virtio_trace.cli.support import options
from virtio_trace.cli.support.boot_parameters import for_kernel, say_left
from virtio_trace.cli.support.say import say, warn
from virtio_trace.errors import UsageError
from virtio_trace.kernel.files import vmlinuz
from virtio_trace.kernel.running.host import Running, snapshot
from virtio_trace.tracer.ftrace.cmdline import CMDLINE_MAX, COMMON, PARAMETERS
from virtio_trace.tracer.points import offline
from virtio_trace.virtio.transports import TRANSPORTS

_ROOM = 256
"""Characters that are left to the rest of another kernel's command line."""
_CMDLINE = Path("/proc/cmdline")
_OURS = re.compile(rf"(?:^|\s)(?:{'|'.join(PARAMETERS)})=\S*")


@click.command
@click.option("--kernel", "image", metavar="VMLINUZ", help="Another kernel than the running one.")
@click.option("--modules", metavar="DIR", help="Its modules, a lib/modules/RELEASE folder.")
@click.option(
    "--driver",
    "drivers",
    multiple=True,
    metavar="MODULE",
    help="A driver's module that matters here; may be given more than once.  [default: those in"
    " use; for another kernel common ones]",
)
@click.option(
    "--room",
    type=click.IntRange(min=0, max=CMDLINE_MAX),
    metavar="N",
    help="Leave N characters to the rest of the command line.  [default: what it has now; of"
    f" another kernel {_ROOM}]",
)
@click.option(
    "--format",
    "style",
    type=click.Choice(("plain", "grub")),
    default="plain",
    show_default=True,
    help="As the kernel takes them, or a line for a file in /etc/default/grub.d.",
)
def command(
    image: str | None,
    modules: str | None,
    drivers: tuple[str, ...],
    room: int | None,
    style: str,
) -> int:
    """Print the kernel parameters with which a kernel records its own early boot.

    They are for this one kernel, the running one or VMLINUZ: a new one needs new ones. When it has
    booted with them, virtio-trace record takes in what it recorded, once, and goes on live.
    """
    kernel = offline.read(*_kernel(image, modules))
    running = image is None and modules is None
    taken = _taken(running) if room is None else room
    prefer = drivers or (_in_use() if running else _common(kernel.machine))
    line = for_kernel(kernel, CMDLINE_MAX - taken - 1, modules=True, prefer=prefer)
    say_left(line)
    if not line.text:
        raise UsageError(
            f"nothing fits in the {CMDLINE_MAX - taken} characters that are left",
            "shorten the rest of the command line, or give a smaller --room",
        )
    with options.result_output() as out:
        out.write(f"{line.text if style == 'plain' else grub(line.text)}\n")
    if kernel.machine != "x86_64" and "virtio" in kernel.builtin:
        warn(
            "which drivers are built into it is unknown: their probe functions are not among these"
        )
    say(f"{len(line.text)} of the {CMDLINE_MAX} characters of a command line, for {kernel.release}")
    return 0


def _kernel(image: str | None, modules: str | None) -> tuple[Path, Path]:
    """Image and modules; of one of them the other is looked for."""
    if modules is not None:
        tree = Path(modules)
        found = Path(image) if image else vmlinuz.find(tree.absolute().name, tree)
        missing, option = f"no kernel image for {modules}", "--kernel VMLINUZ"
    elif image is not None:
        found = Path(image)
        _btf, release = vmlinuz.types(found)
        there = vmlinuz.find_tree(release, found) if release else None
        tree = there or Path()
        found = found if there else None
        missing, option = f"no module tree for {image}", "--modules DIR"
    else:
        running = Running()
        tree = running.module_tree
        found = vmlinuz.find(running.release, tree)
        missing, option = f"no image of the running kernel {running.release}", "--kernel VMLINUZ"
    if found is None:
        raise UsageError(f"{missing} was found", f"name it: {option}")
    return found, tree


def _taken(running: bool) -> int:
    """How many characters the rest of the line has, in bytes as the kernel counts them."""
    if not running:
        return _ROOM
    try:
        line = _CMDLINE.read_text("utf-8", errors="replace").strip()
    except OSError:
        return _ROOM
    return len(_OURS.sub("", line).encode())


def _in_use() -> tuple[str, ...]:
    """The modules whose drivers have a device now, transports too."""
    bus = snapshot()
    bound = {device["driver"] for device in bus["devices"]}
    found = [d["module"] for d in bus["drivers"] if d["name"] in bound and d["module"]]
    buses = {device["bus"] for device in bus["devices"]}
    return (*found, *(each.module for each in TRANSPORTS if each.bus in buses))


def _common(machine: str) -> tuple[str, ...]:
    return COMMON if machine == "x86_64" else (*COMMON, *(each.module for each in TRANSPORTS))


def grub(text: str) -> str:
    """For a shell that reads it and for GRUB that reads what that made: GRUB's own script would
    end a command at ``;`` and expand ``$``, but not in single quotes."""
    quoted = " ".join(f"'{word}'" for word in text.split()).replace("$", "\\$")
    return f'GRUB_CMDLINE_LINUX="$GRUB_CMDLINE_LINUX {quoted}"'
