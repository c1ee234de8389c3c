# SPDX-License-Identifier: GPL-2.0-or-later
"""The feature names and device types of virtio/, compared with the installed headers."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from virtio_trace.virtio import features, numbers

HEADERS = sorted(Path("/usr/include/linux").glob("virtio_*.h"))  # linux-libc-dev
FEATURE = re.compile(
    r"^(?:#\s*define)?\s+(VIRTIO_(?:[A-Z0-9]+_)?F_\w+)(?:\s|=)+(\w+)", re.MULTILINE
)
DEVICE_OF = {  # devices whose name in a macro differs from their VIRTIO_ID_
    "BLK": 2,
    "RTC": 17,
    "SND": 25,
    "I2C": 34,
}
NO_FEATURES = {
    "VIRTIO_TRANSPORT_F_START",  # the range of bits common to all devices
    "VIRTIO_TRANSPORT_F_END",
    "VIRTIO_NET_F_GUEST_UDP_TUNNEL_GSO_MAPPED",  # bits of VIRTIO_NET_CTRL_GUEST_OFFLOADS_SET
    "VIRTIO_NET_F_GUEST_UDP_TUNNEL_GSO_CSUM_MAPPED",
}


def _installed() -> dict[str, str]:
    found: dict[str, str] = {}
    for header in HEADERS:
        found |= dict(FEATURE.findall(header.read_text(encoding="utf-8")))
    return {name: value for name, value in found.items() if name not in NO_FEATURES}


def _device(macro: str) -> int | None:
    word = macro.split("_")[1]
    if word in ("F", "RING"):
        return None
    by_name = {name.upper(): number for number, name in numbers.DEVICE_TYPES.items()}
    return DEVICE_OF.get(word) or by_name[word]


def test_every_feature_of_the_installed_headers_is_known() -> None:
    installed = _installed()
    assert len(installed) > 60, "apt install linux-libc-dev"
    for macro, value in installed.items():
        if value.isdigit():
            assert features.name(_device(macro), int(value)) == macro
        else:  # an alias of another macro
            assert features.ALIASES[macro] == int(installed[value])


def test_every_device_type_of_the_installed_headers_is_known() -> None:
    (header,) = (path for path in HEADERS if path.name == "virtio_ids.h")
    ids = re.findall(r"define VIRTIO_ID_(\w+)\s+(\d+)", header.read_text(encoding="utf-8"))
    assert len(ids) > 30
    for name, number in ids:
        assert numbers.DEVICE_TYPES[int(number)] == name.lower()


def test_no_bit_belongs_to_a_device_and_is_common() -> None:
    for device, own in features.DEVICES.items():
        assert numbers.device_type(device) != f"id-{device}"
        assert not own.keys() & features.COMMON.keys()
        assert all(0 <= bit < 24 or 50 <= bit < 128 for bit in own)
        assert len(set(own.values())) == len(own)
    assert all(24 <= bit < 50 for bit in features.COMMON)


@pytest.mark.parametrize(
    ("device", "bits", "names"),
    [
        (1, [0, 68], ["VIRTIO_NET_F_CSUM", "VIRTIO_NET_F_HOST_UDP_TUNNEL_GSO_CSUM"]),
        (2, [0, 32], ["VIRTIO_BLK_F_BARRIER", "VIRTIO_F_VERSION_1"]),
        (4, [28, 0], ["VIRTIO_RING_F_INDIRECT_DESC", "bit 0"]),
        (1, [45, 127], ["bit 45", "bit 127"]),
        (None, [0, 29], ["bit 0", "VIRTIO_RING_F_EVENT_IDX"]),
        (1, [], []),
    ],
)
def test_names(device: int | None, bits: list[int], names: list[str]) -> None:
    assert features.names(device, bits) == names
