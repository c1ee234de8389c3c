# SPDX-License-Identifier: GPL-2.0-or-later
"""The VirtIO specification's numbers and names.

Names are the kernel's (include/uapi/linux/virtio_ids.h, virtio_config.h); numbers are those of
the VirtIO specification: device types in section 5, status bits in section 2.1.
"""

from __future__ import annotations

import errno as _errno
from enum import IntFlag

DEVICE_TYPES = {
    1: "net",
    2: "block",
    3: "console",
    4: "rng",
    5: "balloon",
    6: "iomem",
    7: "rpmsg",
    8: "scsi",
    9: "9p",
    10: "mac80211_wlan",
    11: "rproc_serial",
    12: "caif",
    13: "memory_balloon",
    16: "gpu",
    17: "clock",
    18: "input",
    19: "vsock",
    20: "crypto",
    21: "signal_dist",
    22: "pstore",
    23: "iommu",
    24: "mem",
    25: "sound",
    26: "fs",
    27: "pmem",
    28: "rpmb",
    29: "mac80211_hwsim",
    30: "video_encoder",
    31: "video_decoder",
    32: "scmi",
    33: "nitro_sec_mod",
    34: "i2c_adapter",
    35: "watchdog",
    36: "can",
    37: "dmabuf",
    38: "param_serv",
    39: "audio_policy",
    40: "bt",
    41: "gpio",
    45: "spi",
    48: "media",
}
"""VIRTIO_ID_ names in lower case by number (include/uapi/linux/virtio_ids.h)."""

IOMMU = 23
"""VIRTIO_ID_IOMMU."""

PCI_VENDOR = 0x1AF4
PCI_DEVICES = range(0x1000, 0x1080)
"""PCI device ids of virtio devices (specification 4.1.2; virtio_pci_modern_dev.c)."""

PCI_MODERN_FIRST = 0x1040
"""PCI device ids from here on are 0x1040 + device type; lower ones are transitional (4.1.2.1)."""

F_VERSION_1 = 32
"""Feature bit that a legacy device cannot offer (specification 6)."""


class Status(IntFlag):
    """Device status bits (specification 2.1; include/uapi/linux/virtio_config.h)."""

    ACKNOWLEDGE = 1
    DRIVER = 2
    DRIVER_OK = 4
    FEATURES_OK = 8
    SUSPEND = 16
    DEVICE_NEEDS_RESET = 64
    NEEDS_RESET = DEVICE_NEEDS_RESET  # as QEMU names it
    FAILED = 128


EPROBE_DEFER = 517
"""A deferred probe, retried later. Internal to the kernel (include/linux/errno.h)."""

_KERNEL_ERRNO = {512: "ERESTARTSYS", 517: "EPROBE_DEFER", 524: "ENOTSUPP", 529: "EIOCBQUEUED"}


_STATUS_NAMES = {bits.bit_length() - 1: str(bits.name) for bits in Status}


def device_type(number: int | None) -> str | None:
    """The name of a device type; ``id-N`` if it has none, None for None."""
    if number is None:
        return None
    return DEVICE_TYPES.get(number, f"id-{number}")


def bits(value: int) -> list[int]:
    """The numbers of the bits that are set in VALUE, lowest first. VALUE must not be negative."""
    return [bit for bit in range(value.bit_length()) if value >> bit & 1]


def status_names(status: int) -> list[str]:
    """The names of the bits in STATUS, lowest first: ACKNOWLEDGE, DRIVER, FEATURES_OK for 0x0b. A
    bit without a name is ``bit N``."""
    return [_STATUS_NAMES.get(bit, f"bit {bit}") for bit in bits(status & 0xFF)]


def errno_name(result: int | None) -> str | None:
    """The name of the error RESULT: EINVAL for -22, E<number> if it has none. None if RESULT is not
    an error."""
    if result is None or not -4095 <= result < 0:
        return None
    return _KERNEL_ERRNO.get(-result) or _errno.errorcode.get(-result) or f"E{-result}"
