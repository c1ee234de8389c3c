# SPDX-License-Identifier: GPL-2.0-or-later
"""Texts by which recordings are grouped and ordered."""

from __future__ import annotations

import pytest

from virtio_trace.fleet.wording import kernel_order, pattern


@pytest.mark.parametrize(
    ("message", "wanted"),
    [
        (
            "the VirtIO IOMMU at 0000:00:01.0 has no driver",
            "the VirtIO IOMMU at ADDRESS has no driver",
        ),
        ("0.0.0001 and a003e00.virtio_mmio", "ADDRESS and ADDRESS"),
        ("virtio3: 97 events were lost", "virtioN: N events were lost"),
        ("returned -22 (EINVAL); VirtIO 5.1.3.1", "returned -22 (EINVAL); VirtIO 5.1.3.1"),
        ("its status is 0x00 (reset)", "its status is 0x00 (reset)"),
        ("alias virtio:d00000004v*", "alias virtio:d00000004v*"),
        ('returned -19; the kernel\'s log: "virtio1: failed"', "returned -19"),
        ("virtio_net and virtnet_probe", "virtio_net and virtnet_probe"),
    ],
)
def test_a_pattern_is_the_same_on_each_machine(message: str, wanted: str) -> None:
    assert pattern(message) == wanted


def test_kernels_are_in_the_order_of_their_versions() -> None:
    kernels = [
        "5.10.0-9-amd64",
        "5.10.0-30-amd64",
        "6.1.0-56-cloud-amd64",
        "6.2.0-rc1",
        "6.2.0-rc10+",
        "6.2.0",
        "6.2.1",
        "6.12-rc3",
        "6.12",
        "6.12.9-arch1-1",
        "6.12.117+deb12-cloud-amd64",
        "7.2-custom",
        "next",
    ]
    kernels_by_text = sorted(kernels)
    assert kernels_by_text != kernels
    assert sorted(kernels_by_text, key=kernel_order) == kernels
