# SPDX-License-Identifier: GPL-2.0-or-later
"""virtio-trace cmdline: parameters that make a kernel record its own early boot."""

from __future__ import annotations

import re
from pathlib import Path

import click

from virtio_trace.cli.support import results
from virtio_trace.cli.support.boot_parameters import for_kernel, say_left
from virtio_trace.cli.support.help import Command, Example
from virtio_trace.cli.support.say import say, warn
from virtio_trace.errors import UsageError
from virtio_trace.kernel.files import machine, vmlinuz
from virtio_trace.kernel.running.host import HostKernel, snapshot
from virtio_trace.tracer.ftrace.cmdline import CMDLINE_MAX, COMMON, PARAMETERS
from virtio_trace.tracer.points import offline
from virtio_trace.virtio.transports import TRANSPORTS

_ROOM = 256
"""Characters that are left for the rest of another kernel's command line."""
_CMDLINE = Path("/proc/cmdline")
_OURS = re.compile(rf"(?:^|\s)(?:{'|'.join(PARAMETERS)})=\S*")

_EXAMPLES = (
    Example(
        "Record the next boot of this machine, after update-grub and a restart",
        "sudo sh -c 'virtio-trace cmdline --format grub >/etc/default/grub.d/vt.cfg'",
    ),
)


@click.command(cls=Command, examples=_EXAMPLES)
@click.option("--kernel", "image", metavar="VMLINUZ", help="A kernel other than the running one.")
@click.option("--modules", metavar="DIR", help="Its modules, a lib/modules/RELEASE folder.")
@click.option(
    "--driver",
    "drivers",
    multiple=True,
    metavar="MODULE",
    help="The module of a driver to include first; may be repeated.  [default: those in use; for"
    " another kernel, common ones]",
)
@click.option(
    "--room",
    type=click.IntRange(min=0, max=CMDLINE_MAX),
    metavar="N",
    help="Leave N characters for the rest of the command line.  [default: its length now; for"
    f" another kernel, {_ROOM}]",
)
@click.option(
    "--format",
    "style",
    type=click.Choice(("plain", "grub")),
    default="plain",
    show_default=True,
    help="As the kernel takes them, or as a line for a file in /etc/default/grub.d.",
)
def command(
    image: str | None,
    modules: str | None,
    drivers: tuple[str, ...],
    room: int | None,
    style: str,
) -> int:
    """Print parameters that make a kernel record its own early boot.

    They fit one kernel only, the running one or VMLINUZ: print them again after an upgrade. After a
    boot with them, the first virtio-trace record includes the events of the boot, and then records
    live.
    """
    kernel = offline.read(*_kernel(image, modules))
    running = image is None and modules is None
    taken = _taken(running) if room is None else room
    prefer = drivers or (_in_use() if running else _common(kernel.machine))
    most = _longest(kernel.machine)
    line = for_kernel(kernel, most - taken - 1, modules=True, prefer=prefer)
    say_left(line)
    if not line.text:
        raise UsageError(
            f"nothing fits in the {most - taken} characters that are left",
            "shorten the rest of the command line, or give a smaller --room",
        )
    with results.result_output() as out:
        out.write(f"{line.text if style == 'plain' else grub(line.text)}\n")
    if not _final_pointers(kernel.machine) and "virtio" in kernel.builtin:
        warn("which drivers are built in is unknown: their probe functions are not included")
    say(f"{len(line.text)} of the {most} characters of a command line, for {kernel.release}")
    return 0


def _kernel(image: str | None, modules: str | None) -> tuple[Path, Path]:
    """The image and the module tree; given one, the other is looked for."""
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
        running = HostKernel()
        tree = running.module_tree
        found = vmlinuz.find(running.release, tree)
        missing, option = f"no image of the running kernel {running.release}", "--kernel VMLINUZ"
    if found is None:
        raise UsageError(f"{missing} was found", f"give it with {option}")
    return found, tree


def _taken(running: bool) -> int:
    """The length of the rest of the line, in bytes as the kernel counts it."""
    if not running:
        return _ROOM
    try:
        line = _CMDLINE.read_text("utf-8", errors="replace").strip()
    except OSError:
        return _ROOM
    return len(_OURS.sub("", line).encode())


def _in_use() -> tuple[str, ...]:
    """The modules of drivers that have a device now, transports included."""
    bus = snapshot()
    bound = {device.driver for device in bus.devices}
    found = [d.module for d in bus.drivers if d.name in bound and d.module]
    buses = {device.bus for device in bus.devices}
    return (*found, *(each.module for each in TRANSPORTS if each.bus in buses))


def _common(name: str) -> tuple[str, ...]:
    found = machine.by_name(name)
    return COMMON if found and not found.mmio else (*COMMON, *(each.module for each in TRANSPORTS))


def _longest(name: str) -> int:
    found = machine.by_name(name)
    return found.command_line if found else CMDLINE_MAX


def _final_pointers(name: str) -> bool:
    found = machine.by_name(name)
    return found is not None and found.image_pointers_final


def grub(text: str) -> str:
    """TEXT as a line of /etc/default/grub.d, quoted for both its readers.

    A shell reads it, and GRUB reads what grub-mkconfig makes of it: a GRUB script would end the
    command at ``;`` and expand ``$`` unless they are in single quotes.
    """
    quoted = " ".join(f"'{word}'" for word in text.split()).replace("$", "\\$")
    return f'GRUB_CMDLINE_LINUX="$GRUB_CMDLINE_LINUX {quoted}"'
