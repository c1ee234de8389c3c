# SPDX-License-Identifier: GPL-2.0-or-later
"""What a machine would lose if a virtio device lost its driver for a moment, as sentences.

Plain data in, sentences out; read_usage.py reads the data. What is built on a device is followed:
partitions, device mapper, md and loop devices; bridges, bonds and VLANs.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

_CONSOLE, _NINE_P, _FS = 3, 9, 26
"""VIRTIO_ID_ numbers (include/uapi/linux/virtio_ids.h)."""

_HVC = re.compile(r"hvc\d+")
_VIRTUAL_TERMINAL = re.compile(r"tty\d+")


@dataclass(frozen=True, slots=True)
class VirtioDevice:
    """A device of the VirtIO bus. ``path`` is its folder in sysfs, ``driver`` is bound to it.

    ``tag``: the name by which its file system is mounted (9p, virtiofs). ``console``: whether one
    of its ports is a console; no file says which hvc terminal that is. None is unknown."""

    name: str
    address: str
    id: int | None
    driver: str | None
    path: str
    tag: str | None = None
    console: bool | None = None


@dataclass(frozen=True, slots=True)
class Block:
    """A disk, a partition, or a device built on them. ``above``: the names of devices built on it.
    ``label`` is device mapper's name. ``held``: opened exclusively (O_EXCL fails with EBUSY)."""

    name: str
    path: str
    above: tuple[str, ...] = ()
    label: str | None = None
    held: bool = False

    @property
    def words(self) -> str:
        """``dm-0 (debian-root)``."""
        return f"{self.name} ({self.label})" if self.label else self.name


@dataclass(frozen=True, slots=True)
class Mount:
    """A mounted file system, and the names of its block devices. ``elsewhere``: a process that has
    it in another mount namespace than ours; "" if it is mounted in ours."""

    kind: str
    source: str
    point: str
    blocks: tuple[str, ...] = ()
    elsewhere: str = ""

    @property
    def where(self) -> str:
        """`` in the mount namespace of process 312 (systemd-logind)``, or nothing."""
        return f" in the mount namespace of {self.elsewhere}" if self.elsewhere else ""


@dataclass(frozen=True, slots=True)
class Link:
    """A network interface, except loopback. ``physical``: it has a device. ``below``: what it is
    built on. ``up``: packets may pass."""

    name: str
    path: str
    up: bool
    physical: bool
    below: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class MachineUsage:
    """What is in use. ``swaps``: block devices. ``routes``: the interfaces of the default routes of
    each family (IPv4, IPv6). ``consoles``: the kernel's. ``terminals``: those that control a
    process. ``frames``: frame buffers that show virtual terminals, with their folders."""

    blocks: tuple[Block, ...] = ()
    mounts: tuple[Mount, ...] = ()
    swaps: tuple[str, ...] = ()
    links: tuple[Link, ...] = ()
    routes: tuple[tuple[str, ...], ...] = ()
    consoles: tuple[str, ...] = ()
    terminals: tuple[str, ...] = ()
    frames: tuple[tuple[str, str], ...] = ()


def reasons(target: VirtioDevice, machine: MachineUsage) -> list[str]:
    """Why TARGET should keep its driver; [] if nothing is known to need it."""
    if target.driver is None:
        return []
    return [
        *_disks(target, machine),
        *_shares(target, machine),
        *_network(target, machine),
        *_consoles(target, machine),
    ]


def carried(target: VirtioDevice, machine: MachineUsage) -> tuple[str, ...]:
    """What TARGET carries: its network interfaces, and its disks with their partitions."""
    links = [link.name for link in machine.links if _inside(link.path, target.path)]
    return (*links, *(b.name for b in machine.blocks if _inside(b.path, target.path)))


def _disks(target: VirtioDevice, machine: MachineUsage) -> list[str]:
    said: list[str] = []
    blocks = {block.name: block for block in machine.blocks}
    mine = [block for block in machine.blocks if _inside(block.path, target.path)]
    stack = _above(mine, blocks)
    for block in stack:
        on = block.words
        under = [own.name for own in mine if own is not block and block in _above([own], blocks)]
        if block not in mine:
            on += f", which is built on {', '.join(under)},"
        said += [_mounted(on, mount) for mount in machine.mounts if block.name in mount.blocks]
        if block.name in machine.swaps:
            said.append(f"{on} is swap space")
    if said:
        return list(dict.fromkeys(said))
    built = [block.words for block in stack if block not in mine]
    if built:
        return [f"{', '.join(built)} is built on {', '.join(block.name for block in mine)}"]
    return [f"{block.name} is opened exclusively" for block in mine if block.held]


def _mounted(on: str, mount: Mount) -> str:
    if mount.point == "/" and not mount.elsewhere:
        return f"the root file system is on {on}".rstrip(",")
    return f"{on} is mounted at {mount.point}{mount.where}"


def _above(blocks: Iterable[Block], by_name: dict[str, Block]) -> list[Block]:
    """BLOCKS and everything built on them."""
    found: dict[str, Block] = {}
    waiting = list(blocks)
    while waiting:
        block = waiting.pop(0)
        if block.name not in found:
            found[block.name] = block
            waiting += [by_name[name] for name in block.above if name in by_name]
    return list(found.values())


def _shares(target: VirtioDevice, machine: MachineUsage) -> list[str]:
    kind = {_NINE_P: "9p", _FS: "virtiofs"}.get(target.id or 0)
    said = []
    for mount in machine.mounts:
        if kind is None or mount.kind != kind or target.tag not in (None, mount.source):
            continue
        unknown = "" if target.tag else ", and its device is not known"
        root = mount.point == "/" and not mount.elsewhere
        where = "the root file system" if root else f"mounted at {mount.point}{mount.where}"
        said.append(f"the {kind} share {mount.source} is {where}{unknown}")
    return said


def _network(target: VirtioDevice, machine: MachineUsage) -> list[str]:
    mine = {link.name for link in machine.links if link.up and _inside(link.path, target.path)}
    if not mine:
        return []
    below = {link.name: link for link in machine.links}
    on = sorted(name for name in below if name not in mine and _leaves(name, below) & mine)
    words = ", ".join(sorted(mine)) + (f" (with {', '.join(on)} on it)" if on else "")
    if not any(link.up and link.physical and link.name not in mine for link in machine.links):
        return [f"{words} is the only network link"]
    for routes in machine.routes:
        ways = [leaves for name in routes if (leaves := _leaves(name, below))]
        if ways and all(leaves <= mine for leaves in ways):
            return [f"the default route goes through {words}"]
    return []


def _leaves(name: str, links: dict[str, Link]) -> set[str]:
    """The physical links, of those that are up, that packets of link NAME can take."""
    found: set[str] = set()
    seen: set[str] = set()
    waiting = [name]
    while waiting:
        link = links.get(waiting.pop())
        if link is None or link.name in seen:
            continue
        seen.add(link.name)
        if link.physical and link.up:
            found.add(link.name)
        waiting += link.below
    return found


def _consoles(target: VirtioDevice, machine: MachineUsage) -> list[str]:
    said = []
    if target.id == _CONSOLE and target.console is not False:
        for words, names in (
            ("a console of the kernel", machine.consoles),
            ("the terminal of a process", machine.terminals),
        ):
            said += [f"{name} is {words}" for name in names if _HVC.fullmatch(name)]
    shown = [name for name in machine.consoles if _VIRTUAL_TERMINAL.fullmatch(name)]
    for frame, path in machine.frames:
        if shown and _inside(path, target.path):
            said.append(f"{frame} shows the console {', '.join(shown)}")
    return said


def _inside(path: str, folder: str) -> bool:
    return path.startswith(f"{folder}/")
