# SPDX-License-Identifier: GPL-2.0-or-later
"""Profile spec as data: the steps of VirtIO 1.x, 3.1.1, and what 2.1, 2.2 and 6 require of them.

Section numbers are those of VirtIO 1.2 and 1.3, which agree for every section used here. The rules
are in spec_rules.py; docs/procedure.md describes them.
"""

from __future__ import annotations

from virtio_trace.check.linux_steps import Step

STATUS = "status"
FEATURES = "features"
"""What a step is of: the device status, or the negotiation and setup in between."""

_STATUS = ("set_status", "reset")
_FEATURES = (*_STATUS, "get_features", "virtio_dev_probe")

STEPS = (
    Step(
        "reset",
        STATUS,
        "the device is reset before it is initialised, and after FAILED before it is again",
        (*_STATUS, "virtio_dev_probe"),
        "VirtIO 3.1.1, step 1; 2.1.1: after FAILED, a reset before re-initialisation",
    ),
    Step(
        "acknowledge",
        STATUS,
        "ACKNOWLEDGE is set, before DRIVER",
        (*_STATUS, "virtio_dev_probe"),
        "VirtIO 3.1.1, step 2",
    ),
    Step(
        "driver",
        STATUS,
        "DRIVER is set, before the features are read",
        _FEATURES,
        "VirtIO 3.1.1, step 3",
    ),
    Step(
        "features-read",
        FEATURES,
        "the device's features are read, before FEATURES_OK and the virtqueues",
        (*_FEATURES, "setup_vq"),
        "VirtIO 3.1.1, step 4",
    ),
    Step(
        "features-written",
        FEATURES,
        "a subset of the features that the device offers is written, with VIRTIO_F_VERSION_1",
        _FEATURES,
        "VirtIO 3.1.1, step 4; 2.2.1: none that was not offered; 6.1: VIRTIO_F_VERSION_1",
    ),
    Step(
        "features-ok",
        FEATURES,
        "FEATURES_OK is set, and no feature is accepted after it; not for a legacy device",
        (*_FEATURES, "setup_vq"),
        "VirtIO 3.1.1, step 5; 3.1.2 and 2.2.3: omitted without VIRTIO_F_VERSION_1",
    ),
    Step(
        "features-accepted",
        FEATURES,
        "FEATURES_OK is read again, before device-specific setup; not for a legacy device",
        (*_FEATURES, "setup_vq", "virtio_features_ok"),
        "VirtIO 3.1.1, step 6; 3.1.2: omitted without VIRTIO_F_VERSION_1",
    ),
    Step(
        "device-setup",
        FEATURES,
        "the virtqueues are set up, before DRIVER_OK",
        (*_STATUS, "setup_vq", "find_vqs", "virtio_dev_probe"),
        "VirtIO 3.1.1, step 7",
    ),
    Step(
        "driver-ok",
        STATUS,
        "DRIVER_OK is set, and is the last step",
        _FEATURES,
        "VirtIO 3.1.1, step 8",
    ),
    Step(
        "status-kept",
        STATUS,
        "no status bit is cleared except by a reset",
        (*_STATUS, "virtio_features_ok"),
        "VirtIO 2.1.1",
    ),
    Step(
        "failed",
        STATUS,
        "FAILED is set if the driver gives up (SHOULD), and nothing continues after it (MUST)",
        (*_STATUS, "setup_vq", "virtio_dev_probe"),
        "VirtIO 3.1.1, below the steps",
    ),
)

NEEDED = {probe for step in STEPS for probe in step.probes} | {
    "register_virtio_device",
    "unregister_virtio_device",
    "virtio_dev_remove",
}
"""Without one of these probe points, this profile's verdict is INCOMPLETE."""
