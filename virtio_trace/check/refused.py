# SPDX-License-Identifier: GPL-2.0-or-later
"""Modules that could not be loaded, in words: the error, and what the kernel said.

A line that names no module is evidence that some load failed, not which: the words say so.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import PurePosixPath

from virtio_trace.graph.model import Graph
from virtio_trace.recording import refusal
from virtio_trace.recording.refusal import Refusal

_QUOTED = 3


def refusals(graph: Graph) -> list[Refusal]:
    """Every failed load that the recording's log has, in its order, each text once."""
    trailer = graph.recording.trailer
    lines = trailer.log.lines if trailer is not None and trailer.log is not None else ()
    found = (refusal.read(line.text) for line in lines)
    return list({one.text: one for one in found if one is not None}.values())


def of_module(graph: Graph, name: str, subject: str) -> str:
    """That the module NAME, which SUBJECT describes, could not be loaded, and why; "" if no line
    of the log names it."""
    every = refusals(graph)
    own = [one for one in every if one.module == name]
    kernels = [one for one in own if not one.by_loader]
    if kernels:
        # The first message is the cause: those about symbols come after "disagrees about".
        said = f"the kernel refused to load {subject}: {_error(own)}"
        return said + f": {_quote(kernels)}"
    if not own:
        return ""
    said = f"{subject} could not be loaded: {_error(own)}: modprobe said {_quote(own)}"
    unnamed, named = _others(graph, every)
    same = own[0].number
    unnamed = [one for one in unnamed if one.number == same]
    named = [one for one in named if one.number == same]
    if unnamed:
        said += f"; the kernel's log, which does not name the module: {_quote(unnamed)}"
    if named:
        said += f"; the kernel's log has another module, which this one may need: {_quote(named)}"
    if not (unnamed or named):
        said += (
            "; the kernel's log does not say why (it says nothing of a signature that does not "
            "match the module)"
        )
    return said


def of_others(graph: Graph) -> str:
    """Loads that failed while a module that no line names was not loaded; "" if there are none."""
    unnamed, named = _others(graph, refusals(graph))
    said = ""
    if unnamed:
        said += "; the kernel refused to load a module that its log does not name, possibly this "
        said += f"one: {_error(unnamed)}: {_quote(unnamed)}"
    if named:
        said += f"; the kernel refused other modules, which this one may need: {_quote(named)}"
    return said


def of_unread(graph: Graph, files: Iterable[str]) -> str:
    """The same for modules whose FILES could not be read, as a damaged module cannot be loaded
    either."""
    names = {PurePosixPath(file).name.partition(".")[0].replace("-", "_") for file in files}
    own = [of_module(graph, name, f"the module {name}") for name in sorted(names)]
    return "".join(f"; {said}" for said in own if said) or of_others(graph)


def _others(graph: Graph, every: list[Refusal]) -> tuple[list[Refusal], list[Refusal]]:
    """The kernel's refusals that name no module; and those of modules that are no VirtIO drivers:
    no other module needs a driver."""
    drivers = {driver.module for driver in graph.recording.header.evidence.drivers}
    kernels = [one for one in every if not one.by_loader]
    unnamed = [one for one in kernels if one.module is None]
    return unnamed, [one for one in kernels if one.module and one.module not in drivers]


def _error(found: Sequence[Refusal]) -> str:
    """The first error that is known. modprobe's comes first: it has what the kernel returned."""
    ordered = sorted(found, key=lambda one: not one.by_loader)
    return next((one.error for one in ordered if one.error), "an unknown error")


def _quote(found: Sequence[Refusal]) -> str:
    more = len(found) - _QUOTED
    said = ", ".join(f'"{one.text}"' for one in found[:_QUOTED])
    return said + (f" and {more} more" if more > 0 else "")
