# SPDX-License-Identifier: GPL-2.0-or-later
"""The procedures a recording can be checked against."""

from __future__ import annotations

from virtio_trace.check import linux_steps, recording_rules, spec_steps

LINUX, SPEC = recording_rules.LINUX, recording_rules.SPEC

PROFILES = {
    LINUX: (*linux_steps.STEPS, *linux_steps.LATER_STEPS, *linux_steps.HOST_STEPS),
    SPEC: spec_steps.STEPS,
}
"""The steps of each procedure."""
