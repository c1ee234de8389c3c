# SPDX-License-Identifier: GPL-2.0-or-later
"""How a probe point is read: enum vt_subject, vt_detail and vt_shape of bpf/events.h.

tests/unit/tracer/bpf/test_wire.py compares each with what a compiler makes of that file.
"""

from __future__ import annotations

# enum vt_subject: what the first argument points to
NOTHING = 0
PCI_DEV = 1
PLATFORM_DEVICE = 2
VIRTIO_DEVICE = 3
DEVICE = 4
DRIVER = 5
BUS_TYPE = 6
MODULE_STRUCT = 7
SUBJECTS = range(NOTHING, MODULE_STRUCT + 1)

# enum vt_detail: what the event shows besides its device and driver
PLAIN = 0
STATUS = 1
RESET = 2
FEATURES = 3
TABLE = 4
COUNT = 5
QUEUE = 6
QUEUE_NO_VECTOR = 7
DETAILS = range(PLAIN, QUEUE_NO_VECTOR + 1)

# enum vt_shape: flags
ARG2_DRIVER = 256
SAVE_ARGS = 512
REDESCRIBE = 1024
RETURN_ONLY = 2048
NAMED = 4096
RETURNS = 8192
BINDS = 16384
