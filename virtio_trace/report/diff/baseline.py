# SPDX-License-Identifier: GPL-2.0-or-later
"""The differences from a baseline as steps and findings of a check."""

from __future__ import annotations

from virtio_trace.check.expectations import Expectations
from virtio_trace.report.diff.model import Diff


def judge(diff: Diff, last_seq: int) -> Expectations:
    """DIFF as steps of a check of its new recording, whose last event is LAST_SEQ: one for each
    kind and subject, wrong if anything differs, else unknown if anything is."""
    found = Expectations(last_seq)
    wrong: dict[tuple[str, str], list[str]] = {}
    unknown: dict[tuple[str, str], list[str]] = {}
    seqs: dict[tuple[str, str], set[int]] = {}
    for one in diff.differences:
        wrong.setdefault((one.kind, one.subject), []).append(one.message)
        seqs.setdefault((one.kind, one.subject), set()).update(one.new_seqs)
    for other in diff.unknown:
        unknown.setdefault((other.kind, other.subject), []).append(other.message)
    for key in diff.compared:
        kind, subject = key
        step = f"baseline-{kind}"
        if key in wrong:
            found.add(step, subject, False, "; ".join(wrong[key]), tuple(sorted(seqs[key])))
        elif key in unknown:
            found.add(step, subject, None, "; ".join(unknown[key]))
        else:
            found.add(step, subject, True)
    own = f"{diff.new.called}: "
    for message in unknown.get(("", ""), ()):
        if not message.startswith(own):  # the check itself says what that recording lacks
            found.add_unknown(message)
    return found
