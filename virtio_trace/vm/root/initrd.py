# SPDX-License-Identifier: GPL-2.0-or-later
"""The initrd of one boot: the archive that all boots share, and this boot's own part."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from virtio_trace.vm.host import cache
from virtio_trace.vm.plan import Plan
from virtio_trace.vm.root import agentless, foreign_initrd, payload
from virtio_trace.vm.root.cpio import append_file


@contextlib.contextmanager
def initrd(root: Path, plan: Plan) -> Iterator[BinaryIO]:
    """ROOT (the appliance, or a busybox) and PLAN's own part as one unnamed temporary file.

    Raises CannotTraceError if it cannot be written, BadInputError for an unusable file of PLAN.
    """
    with contextlib.ExitStack() as stack:
        try:
            whole = stack.enter_context(tempfile.TemporaryFile(dir=cache.root()))
            _write(whole, root, plan)
            whole.flush()
        except OSError as error:
            raise cache.cannot("cannot write the guest's root", cache.root(), error) from error
        yield whole  # an OSError from here on is not about this file


def _write(out: BinaryIO, root: Path, plan: Plan) -> None:
    task = plan.settings.run
    if plan.third_party is not None:
        foreign_initrd.write(out, root, plan.third_party, plan.modules, plan.settings.append)
        return
    assert plan.modules is not None
    if plan.agentless is not None:
        agentless.write(out, root, plan.modules, plan.agentless, machine=plan.arch, task=task)
        return
    append_file(out, root)
    payload.write(out, plan.modules, task)
