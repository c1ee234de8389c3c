# SPDX-License-Identifier: GPL-2.0-or-later
"""Reads what this machine uses: disks, mounts, swap, network, consoles (see usage.py).

It reads sysfs and /proc. They do not show whether a disk is opened exclusively: open(2) with O_EXCL
then fails with EBUSY, and changes nothing.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from virtio_trace.kernel.running.host import snapshot
from virtio_trace.kernel.running.sysfs import content, entries, lines, target
from virtio_trace.rebind.usage import Block, Link, MachineUsage, Mount, VirtioDevice
from virtio_trace.recording.bus_state import SysfsDevice

_IFF_UP, _IFF_LOOPBACK = 0x1, 0x8
_RTF_REJECT = 0x200
_HVC_MAJOR = 229
"""Documentation/admin-guide/devices.txt."""

_NOT_PASSING = ("down", "lowerlayerdown", "notpresent", "dormant", "testing")
"""IF_OPER_ states in which no packet passes (RFC 2863; net/core/net-sysfs.c, operstates)."""


def virtio_devices(sys: Path = Path("/sys"), debugfs: Path | None = None) -> list[VirtioDevice]:
    """Every device of the VirtIO bus."""
    return [
        _target(device, sys, debugfs or sys / "kernel/debug") for device in snapshot(sys).devices
    ]


def machine_usage(
    sys: Path = Path("/sys"), proc: Path = Path("/proc"), dev: Path = Path("/dev")
) -> MachineUsage:
    """What is in use now. Never raises: what cannot be read is left out."""
    blocks, numbers = _blocks(sys, dev)
    return MachineUsage(
        blocks=blocks,
        mounts=tuple(_mounts(sys, proc, numbers)),
        swaps=tuple(_swaps(proc, numbers)),
        links=tuple(_links(sys)),
        routes=(_routes(proc / "net/route"), _routes6(proc / "net/ipv6_route")),
        consoles=tuple(line.split()[0] for line in lines(proc / "consoles") if line),
        terminals=tuple(_terminals(proc)),
        frames=tuple(_frames(sys)),
    )


def _target(device: SysfsDevice, sys: Path, debugfs: Path) -> VirtioDevice:
    path = _real(sys / "bus/virtio/devices" / device.name)
    return VirtioDevice(
        name=device.name,
        address=device.address,
        id=device.id,
        driver=device.driver,
        path=path,
        tag=_tag(Path(path), sys),
        console=_has_console(path, sys, debugfs),
    )


def _tag(path: Path, sys: Path) -> str | None:
    """The tag: of 9p (net/9p/trans_virtio.c), from 6.9 on of virtiofs (fs/fuse/virtio_fs.c)."""
    found = content(path / "mount_tag").strip("\0\n ")
    for share in entries(sys / "fs/virtiofs"):
        if _real(share / "device") == str(path):
            found = content(share / "tag").strip()
    return found or None


def _has_console(path: str, sys: Path, debugfs: Path) -> bool | None:
    """Whether a port is a console (drivers/char/virtio_console.c, port_debugfs_show)."""
    ports = [p for p in entries(sys / "class/virtio-ports") if _real(p).startswith(f"{path}/")]
    texts = [content(debugfs / "virtio-ports" / port.name) for port in ports]
    if not ports or any("is_console:" not in text for text in texts):
        return None
    return any("is_console: yes" in text for text in texts)


# -- disks


def _blocks(sys: Path, dev: Path) -> tuple[tuple[Block, ...], dict[str, str]]:
    """All block devices, and their names by device number (``254:1``)."""
    found: dict[str, Block] = {}
    numbers: dict[str, str] = {}
    loops = [
        (path.name, content(path / "loop/backing_file").strip()) for path in entries(sys / "block")
    ]
    for path in entries(sys / "class/block"):
        name = path.name
        numbers[content(path / "dev").strip()] = name
        above = [holder.name for holder in entries(path / "holders")]
        above += [loop for loop, file in loops if file == f"/dev/{name}"]
        label = content(path / "dm/name").strip() or None
        real = _real(path)
        held = "/virtio" in real and _is_held(dev / name.replace("!", "/"))
        found[name] = Block(name, real, tuple(above), label, held)
    return tuple(found.values()), numbers


def _is_held(node: Path) -> bool:
    try:
        os.close(os.open(node, os.O_RDONLY | os.O_EXCL | os.O_NONBLOCK | os.O_CLOEXEC))
    except OSError as error:
        return error.errno == errno.EBUSY
    return False


def _mounts(sys: Path, proc: Path, numbers: dict[str, str]) -> Iterator[Mount]:
    """The mounts of every mount namespace of a process (proc_pid_mountinfo(5)). Many services have
    one of their own: what is mounted at the same place in ours is yielded once, as ours."""
    pools = [{p.name for p in entries(f / "devices")} for f in entries(sys / "fs/btrfs")]
    seen: set[object] = set()
    others = sorted(proc.glob("[0-9]*"), key=lambda path: int(path.name))
    for process in (proc / "self", *others):
        namespace = target(process / "ns/mnt") or process
        if namespace in seen:
            continue
        ours = not seen
        seen.add(namespace)
        for line in lines(process / "mountinfo"):
            mount = _mount(line, numbers, pools)
            if mount is not None and mount not in seen:
                seen.add(mount)
                yield mount if ours else replace(mount, elsewhere=_process(process))


def _process(path: Path) -> str:
    """``process 312 (systemd-logind)``."""
    name = content(path / "comm").strip()
    return f"process {path.name}{f' ({name})' if name else ''}"


def _mount(line: str, numbers: dict[str, str], pools: list[set[str]]) -> Mount | None:
    before, _, after = line.partition(" - ")
    left, right = before.split(), after.split()
    if len(left) < 5 or len(right) < 2:
        return None
    source = _plain(right[1])
    names = {numbers.get(left[2], "")} | {_name(source)}
    names |= {name for pool in pools if pool & names for name in pool}
    return Mount(right[0], source, _plain(left[4]), tuple(sorted(names - {""})))


def _swaps(proc: Path, numbers: dict[str, str]) -> Iterator[str]:
    """Swap on block devices. A swap file is on a mounted file system."""
    known = set(numbers.values())
    for line in lines(proc / "swaps")[1:]:
        name = _name(_plain(line.split()[0]))
        if name in known:
            yield name


def _name(source: str) -> str:
    """The device's name: /dev/mapper/debian-root is dm-0."""
    return Path(source).resolve().name if source.startswith("/dev/") else ""


def _plain(text: str) -> str:
    """TEXT without the octal escapes of mountinfo and swaps."""
    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), text)


# -- network


def _links(sys: Path) -> Iterator[Link]:
    for path in entries(sys / "class/net"):
        try:
            flags = int(content(path / "flags"), 16)
        except ValueError:
            continue  # bonding_masters is a file there
        if flags & _IFF_LOOPBACK:
            continue
        state = content(path / "operstate").strip()
        yield Link(
            path.name,
            _real(path),
            up=bool(flags & _IFF_UP) and state not in _NOT_PASSING,
            physical=target(path / "device") is not None,
            below=tuple(
                p.name.removeprefix("lower_") for p in entries(path) if p.name.startswith("lower_")
            ),
        )


def _routes(path: Path) -> tuple[str, ...]:
    rows = [line.split() for line in lines(path)[1:]]
    return tuple(row[0] for row in rows if len(row) > 7 and row[1] == row[7] == "00000000")


def _routes6(path: Path) -> tuple[str, ...]:
    rows = [line.split() for line in lines(path)]
    return tuple(
        row[9]
        for row in rows
        if len(row) > 9
        and row[0] == "0" * 32
        and row[1] == "00"
        and not int(row[8], 16) & _RTF_REJECT
    )


# -- consoles


def _terminals(proc: Path) -> list[str]:
    """hvc terminals that control a process (proc_pid_stat(5), tty_nr)."""
    found = set()
    for path in proc.glob("[0-9]*/stat"):
        fields = content(path).rpartition(")")[2].split()
        number = int(fields[4]) if len(fields) > 4 else 0
        if number >> 8 & 0xFFF == _HVC_MAJOR:
            found.add(f"hvc{number & 0xFF | number >> 12 & 0xFFF00}")
    return sorted(found)


def _frames(sys: Path) -> Iterator[tuple[str, str]]:
    """Frame buffers, if one shows virtual terminals (drivers/video/fbdev/core/fbcon.c)."""
    shown = any(
        "frame buffer" in content(path / "name") and content(path / "bind").strip() == "1"
        for path in entries(sys / "class/vtconsole")
    )
    for path in entries(sys / "class/graphics") if shown else []:
        if re.fullmatch(r"fb\d+", path.name):
            yield path.name, _real(path)


def _real(path: Path) -> str:
    return str(path.resolve())
