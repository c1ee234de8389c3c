# SPDX-License-Identifier: GPL-2.0-or-later
"""The initrd of one boot: a root of ours, or the recorder in front of a third party's initrd."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from typing import BinaryIO

from virtio_trace.vm.host import cache
from virtio_trace.vm.host.programs import Progress, quiet
from virtio_trace.vm.plan import Plan
from virtio_trace.vm.root import agentless, foreign_initrd, own, recorder
from virtio_trace.vm.root.cpio import Writer
from virtio_trace.vm.root.own import OwnRoot
from virtio_trace.vm.root.recorder import FirstProcess


@contextlib.contextmanager
def initrd(plan: Plan, progress: Progress = quiet) -> Iterator[BinaryIO]:
    """What PLAN's kernel unpacks, as an unnamed temporary file.

    Raises CannotTraceError if it cannot be written, or the mirror cannot be reached; BadInputError
    for an unusable file of PLAN.
    """
    with contextlib.ExitStack() as stack:
        try:
            whole = stack.enter_context(tempfile.TemporaryFile(dir=cache.root()))
            _write(whole, plan, progress)
            whole.flush()
        except OSError as error:
            raise cache.cannot("cannot write the guest's root", cache.root(), error) from error
        yield whole  # an OSError from here on is not about this file


def _write(out: BinaryIO, plan: Plan, progress: Progress) -> None:
    settings, setup, system = plan.settings, plan.executor, plan.third_party
    base = settings.root
    program = own.busybox(plan.arch, progress) if base is None and system is None else None
    if plan.agentless is not None:
        assert plan.modules is not None
        root = agentless.root(plan.agentless, plan.arch, settings.run)
        own.write(out, plan.modules, root, program)
        return
    assert setup is not None
    if system is not None:
        after = FirstProcess(foreign_initrd.first_process(system, settings.append))
    else:
        after = FirstProcess("/init", own=True, keep=("drive", "run"))

    def add(root: Writer) -> None:
        recorder.add(root, plan.arch, setup, after, progress)

    if system is not None:
        foreign_initrd.write(out, system, add)
    else:
        assert plan.modules is not None
        root = OwnRoot("own", task=settings.run, base=base, unpack=setup.unpack)
        own.write(out, plan.modules, root, program, add)
