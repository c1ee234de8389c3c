# SPDX-License-Identifier: GPL-2.0-or-later
"""The steps of check --board and check --baseline as data.

They are no part of a procedure: a board or another recording says what they expect. docs/board.md
and docs/diff.md describe them.
"""

from __future__ import annotations

from virtio_trace.check.linux_steps import Step

BOARD = "board"
BASELINE = "baseline"
"""What a step is of."""

KERNEL, DEVICE, TYPE, TRANSPORT = "board-kernel", "board-device", "board-type", "board-transport"
STATE, DRIVER, FEATURES, WITHOUT = "board-state", "board-driver", "board-features", "board-without"
QUEUES, VECTORS, PROBE_TIME, ONLY = "board-queues", "board-vectors", "board-probe-ms", "board-only"

_FILE = "the board; "


def _board(id: str, text: str, source: str) -> Step:
    return Step(id, BOARD, text, (), _FILE + source)


BOARD_STEPS = (
    _board(KERNEL, "the kernel's release is one of the board's", "uname -r"),
    _board(DEVICE, "the device is there at the end", "drivers/virtio/virtio.c, virtio_bus"),
    _board(TYPE, "the device has the board's type", "include/uapi/linux/virtio_ids.h"),
    _board(TRANSPORT, "the device has the board's transport", "VirtIO, section 4"),
    _board(STATE, "the device is in the board's state at the end", "virtio-trace report"),
    _board(DRIVER, "the board's driver is bound to the device", "struct virtio_driver"),
    _board(FEATURES, "the board's features are negotiated", "VirtIO 2.2, 3.1.1, steps 4 to 6"),
    _board(WITHOUT, "none of the features in without is negotiated", "VirtIO 2.2"),
    _board(QUEUES, "at least so many virtqueues are set up", "VirtIO 3.1.1, step 7"),
    _board(VECTORS, "the virtqueues have at least so many MSI-X vectors", "VirtIO 4.1.4.3"),
    _board(PROBE_TIME, "virtio_dev_probe takes at most probe_ms", "virtio.c, virtio_dev_probe"),
    _board(ONLY, "no other virtio device is there", "drivers/virtio/virtio.c, virtio_bus"),
)
"""Each key of a board is one step; see report/board."""

BASELINE_STEPS = tuple(
    Step(f"baseline-{kind}", BASELINE, text, (), "the baseline")
    for kind, text in (
        ("device", "the same devices are there"),
        ("driver", "the same drivers are registered, from the same modules"),
        ("state", "the device is in the same state, with the same driver"),
        ("steps", "the steps of the procedure came out the same"),
        ("attempts", "the same drivers were tried, with the same results"),
        ("features", "the same features were offered, wanted and negotiated"),
        ("status", "the same device status was written"),
        ("queues", "the same virtqueues were set up, with the same vectors"),
        ("functions", "the same functions of the kernel were called"),
        ("order", "the calls came in the same order"),
        ("time", "no phase became slower than --time-ratio allows"),
    )
)
"""Each kind of difference is one step; see report/diff."""
