# SPDX-License-Identifier: GPL-2.0-or-later
"""Names of feature bits: the macros of the kernel's uapi headers, by device type.

From include/uapi/linux/virtio_config.h, virtio_ring.h and the header of each device, as of Linux
7.2. Bits 0 to 23 and from 50 on belong to the device type; those between are common (specification
2.2). A bit that no header names is called "bit N".
"""

from __future__ import annotations

import re
from collections.abc import Iterable

COMMON = {
    24: "VIRTIO_F_NOTIFY_ON_EMPTY",
    27: "VIRTIO_F_ANY_LAYOUT",
    28: "VIRTIO_RING_F_INDIRECT_DESC",
    29: "VIRTIO_RING_F_EVENT_IDX",
    32: "VIRTIO_F_VERSION_1",
    33: "VIRTIO_F_ACCESS_PLATFORM",
    34: "VIRTIO_F_RING_PACKED",
    35: "VIRTIO_F_IN_ORDER",
    36: "VIRTIO_F_ORDER_PLATFORM",
    37: "VIRTIO_F_SR_IOV",
    38: "VIRTIO_F_NOTIFICATION_DATA",
    39: "VIRTIO_F_NOTIF_CONFIG_DATA",
    40: "VIRTIO_F_RING_RESET",
    41: "VIRTIO_F_ADMIN_VQ",
}
"""Bits of every device type (virtio_config.h, virtio_ring.h)."""

DEVICES = {
    1: {  # virtio_net.h
        0: "VIRTIO_NET_F_CSUM",
        1: "VIRTIO_NET_F_GUEST_CSUM",
        2: "VIRTIO_NET_F_CTRL_GUEST_OFFLOADS",
        3: "VIRTIO_NET_F_MTU",
        5: "VIRTIO_NET_F_MAC",
        6: "VIRTIO_NET_F_GSO",
        7: "VIRTIO_NET_F_GUEST_TSO4",
        8: "VIRTIO_NET_F_GUEST_TSO6",
        9: "VIRTIO_NET_F_GUEST_ECN",
        10: "VIRTIO_NET_F_GUEST_UFO",
        11: "VIRTIO_NET_F_HOST_TSO4",
        12: "VIRTIO_NET_F_HOST_TSO6",
        13: "VIRTIO_NET_F_HOST_ECN",
        14: "VIRTIO_NET_F_HOST_UFO",
        15: "VIRTIO_NET_F_MRG_RXBUF",
        16: "VIRTIO_NET_F_STATUS",
        17: "VIRTIO_NET_F_CTRL_VQ",
        18: "VIRTIO_NET_F_CTRL_RX",
        19: "VIRTIO_NET_F_CTRL_VLAN",
        20: "VIRTIO_NET_F_CTRL_RX_EXTRA",
        21: "VIRTIO_NET_F_GUEST_ANNOUNCE",
        22: "VIRTIO_NET_F_MQ",
        23: "VIRTIO_NET_F_CTRL_MAC_ADDR",
        50: "VIRTIO_NET_F_DEVICE_STATS",
        52: "VIRTIO_NET_F_VQ_NOTF_COAL",
        53: "VIRTIO_NET_F_NOTF_COAL",
        54: "VIRTIO_NET_F_GUEST_USO4",
        55: "VIRTIO_NET_F_GUEST_USO6",
        56: "VIRTIO_NET_F_HOST_USO",
        57: "VIRTIO_NET_F_HASH_REPORT",
        59: "VIRTIO_NET_F_GUEST_HDRLEN",
        60: "VIRTIO_NET_F_RSS",
        61: "VIRTIO_NET_F_RSC_EXT",
        62: "VIRTIO_NET_F_STANDBY",
        63: "VIRTIO_NET_F_SPEED_DUPLEX",
        65: "VIRTIO_NET_F_GUEST_UDP_TUNNEL_GSO",
        66: "VIRTIO_NET_F_GUEST_UDP_TUNNEL_GSO_CSUM",
        67: "VIRTIO_NET_F_HOST_UDP_TUNNEL_GSO",
        68: "VIRTIO_NET_F_HOST_UDP_TUNNEL_GSO_CSUM",
    },
    2: {  # virtio_blk.h
        0: "VIRTIO_BLK_F_BARRIER",
        1: "VIRTIO_BLK_F_SIZE_MAX",
        2: "VIRTIO_BLK_F_SEG_MAX",
        4: "VIRTIO_BLK_F_GEOMETRY",
        5: "VIRTIO_BLK_F_RO",
        6: "VIRTIO_BLK_F_BLK_SIZE",
        7: "VIRTIO_BLK_F_SCSI",
        9: "VIRTIO_BLK_F_FLUSH",
        10: "VIRTIO_BLK_F_TOPOLOGY",
        11: "VIRTIO_BLK_F_CONFIG_WCE",
        12: "VIRTIO_BLK_F_MQ",
        13: "VIRTIO_BLK_F_DISCARD",
        14: "VIRTIO_BLK_F_WRITE_ZEROES",
        16: "VIRTIO_BLK_F_SECURE_ERASE",
        17: "VIRTIO_BLK_F_ZONED",
    },
    3: {  # virtio_console.h
        0: "VIRTIO_CONSOLE_F_SIZE",
        1: "VIRTIO_CONSOLE_F_MULTIPORT",
        2: "VIRTIO_CONSOLE_F_EMERG_WRITE",
    },
    5: {  # virtio_balloon.h
        0: "VIRTIO_BALLOON_F_MUST_TELL_HOST",
        1: "VIRTIO_BALLOON_F_STATS_VQ",
        2: "VIRTIO_BALLOON_F_DEFLATE_ON_OOM",
        3: "VIRTIO_BALLOON_F_FREE_PAGE_HINT",
        4: "VIRTIO_BALLOON_F_PAGE_POISON",
        5: "VIRTIO_BALLOON_F_REPORTING",
    },
    7: {  # drivers/rpmsg/virtio_rpmsg_bus.c
        0: "VIRTIO_RPMSG_F_NS",
    },
    8: {  # virtio_scsi.h
        0: "VIRTIO_SCSI_F_INOUT",
        1: "VIRTIO_SCSI_F_HOTPLUG",
        2: "VIRTIO_SCSI_F_CHANGE",
        3: "VIRTIO_SCSI_F_T10_PI",
    },
    16: {  # virtio_gpu.h
        0: "VIRTIO_GPU_F_VIRGL",
        1: "VIRTIO_GPU_F_EDID",
        2: "VIRTIO_GPU_F_RESOURCE_UUID",
        3: "VIRTIO_GPU_F_RESOURCE_BLOB",
        4: "VIRTIO_GPU_F_CONTEXT_INIT",
        5: "VIRTIO_GPU_F_BLOB_ALIGNMENT",
    },
    17: {  # virtio_rtc.h
        0: "VIRTIO_RTC_F_ALARM",
    },
    19: {  # virtio_vsock.h
        1: "VIRTIO_VSOCK_F_SEQPACKET",
    },
    23: {  # virtio_iommu.h
        0: "VIRTIO_IOMMU_F_INPUT_RANGE",
        1: "VIRTIO_IOMMU_F_DOMAIN_RANGE",
        2: "VIRTIO_IOMMU_F_MAP_UNMAP",
        3: "VIRTIO_IOMMU_F_BYPASS",
        4: "VIRTIO_IOMMU_F_PROBE",
        5: "VIRTIO_IOMMU_F_MMIO",
        6: "VIRTIO_IOMMU_F_BYPASS_CONFIG",
    },
    24: {  # virtio_mem.h
        0: "VIRTIO_MEM_F_ACPI_PXM",
        1: "VIRTIO_MEM_F_UNPLUGGED_INACCESSIBLE",
        2: "VIRTIO_MEM_F_PERSISTENT_SUSPEND",
    },
    25: {  # virtio_snd.h
        0: "VIRTIO_SND_F_CTLS",
    },
    27: {  # virtio_pmem.h
        0: "VIRTIO_PMEM_F_SHMEM_REGION",
    },
    32: {  # virtio_scmi.h
        0: "VIRTIO_SCMI_F_P2A_CHANNELS",
        1: "VIRTIO_SCMI_F_SHARED_MEMORY",
    },
    34: {  # virtio_i2c.h
        0: "VIRTIO_I2C_F_ZERO_LENGTH_REQUEST",
    },
    36: {  # virtio_can.h
        0: "VIRTIO_CAN_F_CAN_CLASSIC",
        1: "VIRTIO_CAN_F_CAN_FD",
        2: "VIRTIO_CAN_F_RTR_FRAMES",
        3: "VIRTIO_CAN_F_LATE_TX_ACK",
    },
    40: {  # virtio_bt.h
        0: "VIRTIO_BT_F_VND_HCI",
        1: "VIRTIO_BT_F_MSFT_EXT",
        2: "VIRTIO_BT_F_AOSP_EXT",
        3: "VIRTIO_BT_F_CONFIG_V2",
    },
    41: {  # virtio_gpio.h
        0: "VIRTIO_GPIO_F_IRQ",
    },
}
"""By VIRTIO_ID_ number, each with its header. Other device types have no such macro."""

ALIASES = {
    "VIRTIO_F_IOMMU_PLATFORM": 33,
    "VIRTIO_BLK_F_WCE": 9,
}
"""Older names of bits that are listed above under newer names."""


def name(device: int | None, bit: int) -> str:
    """The macro of feature BIT of device type DEVICE; "bit N" if there is none."""
    own = DEVICES.get(device, {}) if device is not None else {}
    return own.get(bit) or COMMON.get(bit) or f"bit {bit}"


def names(device: int | None, bits: Iterable[int]) -> list[str]:
    """The names of BITS, in their order. DEVICE is a VIRTIO_ID_ number, or None if unknown."""
    return [name(device, bit) for bit in bits]


_PREFIX = re.compile(r"VIRTIO_(?:[A-Z0-9]+_)?F_")


def short(macro: str) -> str:
    """The MACRO without what its device type says: CSUM, VERSION_1, INDIRECT_DESC."""
    return _PREFIX.sub("", macro, count=1)


def bit(device: int | None, macro: str) -> int | None:
    """The reverse of :func:`name`; None if DEVICE has no such feature."""
    if macro.startswith("bit "):
        return int(macro.removeprefix("bit "))
    own = DEVICES.get(device, {}) if device is not None else {}
    return next(
        (n for table in (own, COMMON) for n, known in table.items() if known == macro), None
    )


KEPT_BY_CORE = range(28, 42)
"""Bits that virtio_dev_probe keeps whatever the driver's table has, VIRTIO_TRANSPORT_F_START to
_END (include/uapi/linux/virtio_config.h)."""
