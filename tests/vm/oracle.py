# SPDX-License-Identifier: GPL-2.0-or-later
"""What the kernel reports itself: sysfs, PCI configuration space, initcall_debug, its log.

It shares no code with virtio_trace: our output is compared with it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

SYSFS = """
show_bus() {
    at "$1"
    for d in /sys/bus/virtio/devices/*; do
        [ -e "$d" ] || continue
        real=$(readlink -f "$d")
        parent=${real%/*}
        driver=$(readlink "$d/driver" || echo /-)
        echo "${d##*/} ${parent##*/} ${driver##*/} $(cat "$d/status" "$d/device" "$d/vendor" \\
            "$d/features" | tr '\\n' ' ')$(od -An -v -tx1 "$parent/config" 2>/dev/null |
            tr -d ' \\n')"
    done
}
"""
"""Shell: prints every device on the VirtIO bus as a section that :func:`devices` reads."""


@dataclass(frozen=True, slots=True)
class SysfsDevice:
    """A device as /sys/bus/virtio/devices shows it; ``config`` is its PCI configuration space,
    empty if it is not on PCI."""

    name: str
    address: str
    driver: str | None
    status: int
    id: int
    vendor: int
    features: str
    config: bytes

    @property
    def pci_id(self) -> int:
        """Its PCI device id: from 0x1040 on it cannot be driven as a legacy device."""
        return int.from_bytes(self.config[2:4], "little")

    @property
    def modern(self) -> bool:
        """Whether it has the capabilities of a modern device (VirtIO 1.2, 4.1.4)."""
        place, kinds = self.config[0x34], set()
        while place:
            if self.config[place] == 0x09:  # vendor specific
                kinds.add(self.config[place + 3])
            place = self.config[place + 1]
        return {1, 2, 3} <= kinds  # common, notify, ISR


def devices(section: Iterable[str]) -> dict[str, SysfsDevice]:
    """The devices in a section that SYSFS printed, by address, in the order of their indices."""
    found = {}
    for line in sorted(section, key=lambda line: int(line.split()[0].removeprefix("virtio"))):
        name, address, driver, status, kind, vendor, features, *config = line.split()
        found[address] = SysfsDevice(
            name=name,
            address=address,
            driver=None if driver == "-" else driver,
            status=int(status, 16),
            id=int(kind, 16),
            vendor=int(vendor, 16),
            features=features,
            config=bytes.fromhex("".join(config)),
        )
    return found


@dataclass(frozen=True, slots=True)
class Probed:
    """One line of initcall_debug: what really_probe returned for a device, and its time."""

    device: str
    result: int
    microseconds: int


_PROBE = re.compile(r"probe of (\S+)(?: with driver (.+?))? returned (-?\d+) after (\d+) usecs")


def probes(log: str, device: str) -> list[Probed]:
    """The probes of the devices whose name matches the pattern DEVICE, in their order.

    Before Linux 5.13 a bound device is 1 and a failed one 0. From then on they are 0 and an errno,
    positive except for -EPROBE_DEFER. From 7.x on the line also names the driver.
    """
    found = (Probed(name, int(e), int(t)) for name, _driver, e, t in _PROBE.findall(log))
    return [probe for probe in found if re.fullmatch(device, probe.device)]


def virtio_probes(log: str) -> list[Probed]:
    """The probes of VirtIO devices."""
    return probes(log, r"virtio\d+")


SLACK_NS = 50_000_000
"""really_probe does more than the bus's probe (DMA, power, sysfs, uevent): 0.1 to 15 ms measured
under TCG, of calls that take 1 to 120 ms; a busy host may take the guest's processor away, too."""


def same_time(ours_ns: Sequence[int], theirs: Sequence[Probed], slack_ns: int = SLACK_NS) -> None:
    """Asserts that each of OURS is shorter than THEIRS, which encloses it, by at most SLACK_NS."""
    assert len(ours_ns) == len(theirs)
    for ours, their in zip(ours_ns, theirs, strict=True):
        # Theirs is truncated to whole microseconds.
        assert 0 < ours < (their.microseconds + 1) * 1000, (ours, their)
        assert their.microseconds * 1000 - ours < slack_ns, (ours, their)
