# SPDX-License-Identifier: GPL-2.0-or-later
"""A board of devices that fail in known ways, and of devices that work; and their expected states.

The expectations are those of Debian's cloud kernels from 6.1 on.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tests.vm import oracle, qmp
from tests.vm.guest import Guest


@dataclass(frozen=True, slots=True)
class Slot:
    """A device of the board and its expected state. ``backend``: QEMU's options before it."""

    device: str
    type: str
    state: str = "bound"
    driver: str | None = None
    result: int = 0
    status: int = 0x0F
    backend: tuple[str, ...] = ()


_NET = "virtio-net-pci,romfile=,netdev="
BOARD = {
    "02.0": Slot(f"{_NET}n2", "net", driver="virtio_net", backend=("-netdev", "user,id=n2")),
    "03.0": Slot(
        f"{_NET}n3,ctrl_vq=off", "net", "failed", "virtio_net", -22, 0x83,
        ("-netdev", "user,id=n3"),
    ),
    "04.0": Slot(
        f"{_NET}n4,disable-modern=on,disable-legacy=off", "net", driver="virtio_net", status=0x07,
        backend=("-netdev", "user,id=n4"),
    ),
    "05.0": Slot(
        f"{_NET}n5,vectors=0", "net", driver="virtio_net", backend=("-netdev", "user,id=n5")
    ),
    "06.0": Slot(
        "virtio-balloon-pci,disable-legacy=on,iommu_platform=on", "balloon", "failed",
        "virtio_balloon", -19, 0x83,
    ),
    "07.0": Slot(
        "virtio-crypto-pci,cryptodev=c7", "crypto", "unbound", status=0x01,
        backend=("-object", "cryptodev-backend-builtin,id=c7"),
    ),
    "08.0": Slot("virtio-serial-pci", "console", driver="virtio_console"),
    "09.0": Slot("virtio-keyboard-pci", "input", driver="virtio_input"),
    "0a.0": Slot("virtio-scsi-pci", "scsi", driver="virtio_scsi"),
    "0b.0": Slot("virtio-rng-pci", "rng", driver="virtio_rng"),
    "0c.0": Slot(
        "virtio-blk-pci,drive=d12", "block", driver="virtio_blk",
        backend=("-blockdev", "null-co,node-name=d12,size=67108864,read-zeroes=on"),
    ),
}  # fmt: skip
"""By PCI slot, in the order of their indices."""

OPTIONS = tuple(
    option
    for address, slot in BOARD.items()
    for option in (*slot.backend, "-device", f"{slot.device},addr={address},id=at-{address}")
)


def _host(_name: str, monitor: qmp.Qmp) -> Any:
    return qmp.devices(monitor)


def guest(kernel: str) -> Guest:
    """The board on KERNEL. At its end it is inspected from inside and by the host."""
    script = f"{oracle.SYSFS}show_bus final\nask virtio\nat interrupts\ncat /proc/interrupts"
    return Guest(kernel, script, OPTIONS, host=_host)
