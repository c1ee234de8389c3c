# SPDX-License-Identifier: GPL-2.0-or-later
"""The oracles themselves: they read what kernels print."""

from __future__ import annotations

import pytest

from tests.vm import oracle

# As printed by 5.10, by 6.1 and 6.12, and by 7.3; names of drivers may have spaces.
FORMATS = {
    "[    3.1] probe of virtio0 returned 1 after 17737 usecs": (1, 17737),
    "[   18.652124] probe of virtio0 returned 0 after 18684 usecs": (0, 18684),
    "[   18.652124] probe of virtio0 returned 22 after 684 usecs": (22, 684),
    "[    1.0] probe of virtio0 returned -517 after 4 usecs": (-517, 4),
    "[    9.9] probe of virtio0 with driver virtio_net returned 0 after 88 usecs": (0, 88),
    "[    9.9] probe of virtio0 with driver a b c returned 19 after 88 usecs": (19, 88),
}


@pytest.mark.parametrize("line", FORMATS)
def test_every_format_of_initcall_debug(line: str) -> None:
    (probe,) = oracle.virtio_probes(
        f"noise\n{line}\nprobe of 0000:00:02.0 returned 0 after 1 usecs"
    )
    assert (probe.device, probe.result, probe.microseconds) == ("virtio0", *FORMATS[line])
    (pci,) = oracle.probes("probe of 0000:00:02.0 returned 0 after 1 usecs", "0000:00:02[.]0")
    assert pci.device == "0000:00:02.0"


@pytest.mark.parametrize("ours", [0, 3_001_000, 900_000])
def test_a_time_outside_is_found(ours: int) -> None:
    """No time, a time longer than what encloses it, and a much shorter one."""
    theirs = [oracle.Probed("virtio0", 0, 3000)]
    oracle.same_time([2_500_000], theirs, 2_000_000)
    with pytest.raises(AssertionError):
        oracle.same_time([ours], theirs, 2_000_000)


def test_legacy_and_modern_by_the_capabilities() -> None:
    config = bytearray(256)
    line = "virtio0 0000:00:02.0 - 0x00000001 0x0001 0x1af4 000 "
    (device,) = oracle.devices([line + config.hex()]).values()
    assert (device.modern, device.driver, device.id, device.vendor) == (False, None, 1, 0x1AF4)
    config[0x34] = 0x40
    for place, kind in ((0x40, 1), (0x50, 2), (0x60, 3)):
        config[place : place + 4] = (0x09, place + 0x10 if kind < 3 else 0, 0x10, kind)
    (device,) = oracle.devices([line + config.hex()]).values()
    assert device.modern is True
