# SPDX-License-Identifier: GPL-2.0-or-later
"""What a probe point's arguments are, and what its event shows: the codes of bpf/events.h."""

from __future__ import annotations

NOTHING = 0


PCI_DEV = 1


PLATFORM_DEVICE = 2


VIRTIO_DEVICE = 3


DEVICE = 4


DRIVER = 5


BUS_TYPE = 6


MODULE_STRUCT = 7


PLAIN = 0


STATUS = 1


RESET = 2


FEATURES = 3


TABLE = 4


COUNT = 5


QUEUE = 6


QUEUE_NO_VECTOR = 7


SECOND = 256


KEEP = 512


ANEW = 1024


QUIET = 2048


NAMED = 4096
