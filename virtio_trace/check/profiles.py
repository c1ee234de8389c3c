# SPDX-License-Identifier: GPL-2.0-or-later
"""The procedures a recording can be checked against."""

from __future__ import annotations

from virtio_trace.check import board_steps, linux_steps, recording_rules, spec_steps

LINUX, SPEC = recording_rules.LINUX, recording_rules.SPEC

EXPECTED = (*board_steps.BOARD_STEPS, *board_steps.BASELINE_STEPS)
"""The steps of --board and --baseline, with either procedure."""

PROFILES = {
    LINUX: (*linux_steps.STEPS, *linux_steps.LATER_STEPS, *linux_steps.HOST_STEPS, *EXPECTED),
    SPEC: (*spec_steps.STEPS, *EXPECTED),
}
"""The steps of each procedure, then those of what else may be expected."""
