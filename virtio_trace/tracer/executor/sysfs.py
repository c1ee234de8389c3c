# SPDX-License-Identifier: GPL-2.0-or-later
"""The PCI and VirtIO devices and drivers of sysfs as text; kernel/running/sysfs_text.py parses it.

The forms of its lines: ``==> /sys/... <==`` before a file's first line, ``'/sys/...' -> '...'`` for
a link, a folder's path, ``bytes /sys/... HEX`` for a file that is not text.
"""

from __future__ import annotations

from virtio_trace.tracer.executor.tree import Tree

_FILES = (
    *("vendor", "device", "subsystem_device", "modalias", "status", "features"),
    "driver_override",
)
_LINKS = ("driver", "subsystem")
_VIRTIO_VENDOR = b"0x1af4"
_PCI_CONFIG = 256
_VIOT = "firmware/acpi/tables/VIOT"


def lines(sys: Tree) -> str:
    """What SYS, the folder /sys, has now."""
    out: list[str] = []
    for bus in ("pci", "virtio"):
        if sys.identity(f"bus/{bus}") is None:
            continue
        out.append(f"/sys/bus/{bus}")
        _file(out, sys, f"bus/{bus}/drivers_autoprobe")
        for name in sys.list(f"bus/{bus}/devices"):
            _device(out, sys, f"bus/{bus}/devices/{name}", pci=bus == "pci")
    for folder in ("class/net", "block"):
        for name in sys.list(folder):
            if "/virtio" in (sys.link(f"{folder}/{name}") or ""):
                _link(out, sys, f"{folder}/{name}")
    for name in sys.list("bus/virtio/drivers"):
        out.append(f"/sys/bus/virtio/drivers/{name}")
        _link(out, sys, f"bus/virtio/drivers/{name}/module")
    if sys.identity("bus/pci/drivers/virtio-pci") is not None:
        out.append("/sys/bus/pci/drivers/virtio-pci")
    _bytes(out, sys, _VIOT, 1 << 16)
    return "".join(f"{line}\n" for line in out)


def _device(out: list[str], sys: Tree, link: str, *, pci: bool) -> None:
    target = sys.link(link)
    if target is None:
        return
    out.append(f"'/sys/{link}' -> '{target}'")
    folder = _followed(link, target)
    for name in _FILES:
        _file(out, sys, f"{folder}/{name}")
    for name in _LINKS:
        _link(out, sys, f"{folder}/{name}")
    _link(out, sys, f"{folder.rpartition('/')[0]}/subsystem")
    for name in sys.list(folder):
        if name.startswith("supplier:"):
            _link(out, sys, f"{folder}/{name}")
    if pci and (sys.read(f"{folder}/vendor") or b"").strip() == _VIRTIO_VENDOR:
        _bytes(out, sys, f"{folder}/config", _PCI_CONFIG)


def _followed(link: str, target: str) -> str:
    """The path that LINK leads to; TARGET is what it says, relative to LINK's folder."""
    path = link.split("/")[:-1]
    for name in target.split("/"):
        if name == "..":
            path = path[:-1]
        else:
            path.append(name)
    return "/".join(path)


def _file(out: list[str], sys: Tree, path: str) -> None:
    data = sys.read(path, 4096)
    if data is not None:
        first = data.decode("utf-8", "backslashreplace").split("\n", 1)[0]
        out += [f"==> /sys/{path} <==", first]


def _link(out: list[str], sys: Tree, path: str) -> None:
    target = sys.link(path)
    if target is not None:
        out.append(f"'/sys/{path}' -> '{target}'")


def _bytes(out: list[str], sys: Tree, path: str, most: int) -> None:
    data = sys.read(path, most)
    if data:
        out.append(f"bytes /sys/{path} {data.hex()}")
