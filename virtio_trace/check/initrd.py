# SPDX-License-Identifier: GPL-2.0-or-later
"""A system that began in an initrd: which module files were out of its reach, or of ours."""

from __future__ import annotations

from virtio_trace.check import refused
from virtio_trace.graph.model import Graph

_STORAGE = (2, 8, 9, 26, 27)
"""Device types that may hold the root file system: block, scsi, 9p, fs, pmem."""

NOT_REACHED = "; the root file system was not reached"


def lacks(graph: Graph, module: str) -> bool:
    """Whether the initrd lacks MODULE, and the system is not known to have left the initrd. A
    module that is built in, or that was loaded, is not lacking."""
    header = graph.recording.header
    if header.initrd is None or module in header.initrd.modules:
        return False
    if module in header.evidence.builtin or module in graph.modules:
        return False
    return _is_left(graph) is not True


def words(graph: Graph, module: str) -> list[str]:
    """Says that the initrd lacks MODULE, if it does."""
    if not lacks(graph, module):
        return []
    evidence = graph.recording.header.evidence
    files = {facts.module: facts.file for facts in evidence.transports}
    files |= {facts.module: facts.file for facts in evidence.drivers}
    still = ", and the system is still in the initrd" if _is_left(graph) is False else ""
    return [f"{files.get(module, module)} is not in the initrd{still}"]


def is_out_of_reach(graph: Graph, module: str, device_type: int | None) -> bool:
    """Whether MODULE is only in a root file system that the system had not reached at the end.

    That nothing loaded it is then no fault. But if its device may hold that file system, and no
    such device has a driver, it is the reason.
    """
    if not lacks(graph, module) or _is_left(graph) is not False:
        return False
    if any(one.module == module and not one.by_loader for one in refused.refusals(graph)):
        return False  # the kernel had it, and refused it
    reachable = any(d.id in _STORAGE and d.bound_to is not None for d in graph.devices)
    return device_type not in _STORAGE or reachable


def is_all_known(graph: Graph) -> bool:
    """Whether the evidence is from the initrd's module files alone."""
    initrd = graph.recording.header.initrd
    return initrd is not None and initrd.only


def whose_files(graph: Graph) -> str:
    """Whose module files the evidence is from."""
    return "the initrd" if is_all_known(graph) else "this kernel"


def _is_left(graph: Graph) -> bool | None:
    trailer = graph.recording.trailer
    end = trailer.end_state if trailer is not None else None
    return end.initrd_left if end is not None else None
