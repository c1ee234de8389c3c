# SPDX-License-Identifier: GPL-2.0-or-later
"""Which functions of this kernel a probe point is: resolved from symbol tables before arming.

tracefs accepts ``module:symbol`` for an absent module without checking the symbol, and some kernels
arm the first of two functions with one name (5.10; 6.1 for a module's). So names are counted in the
module's own symbol table, and in kallsyms for what is built in. Where several functions of a name
are meant, each is reached from a uniquely named symbol: one before it in its section of the module,
or the kernel's _stext. Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from virtio_trace.recording.probe_state import ABSENT, NOT_ARMED, WAITING, ProbeState
from virtio_trace.tracer.points.point import ProbePoint
from virtio_trace.tracer.points.target import ListKey, Target

if TYPE_CHECKING:  # reading ELF takes a third of a second to import
    from virtio_trace.kernel.files.elf_tables import Function

GET_COOKIE = "bpf_get_attach_cookie_trace"
"""The helper of kernel/trace/bpf_trace.c that gives a tracing program its cookie."""

STEXT = "_stext"
"""The start of the kernel's text: the base of built-in functions that share a name."""

FunctionsOf = Callable[[str], "Mapping[str, Sequence[Function]] | None"]
"""A module's name to its functions by name, each with its places; None: no such file."""

Builtin = Mapping[str, Sequence[int]]
"""The kernel's own functions by name: their addresses (kallsyms)."""


@dataclass(frozen=True, slots=True)
class ResolvedProbe:
    """A probe point with the function to arm, or with the reason why there is none.

    ``absent``: this kernel was built without the function, and may be.
    """

    point: ProbePoint
    target: Target | None
    reason: str | None = None
    absent: bool = False

    @property
    def listed(self) -> list[ListKey]:
        """Its lines in the kernel's list of kprobes once it is armed."""
        if self.target is None:
            return []
        kinds = "kr" if self.point.returns else "k"
        return [self.target.list_key(kind) for kind in kinds]

    def state(
        self,
        state: str = WAITING,
        reason: str | None = None,
        missed: int = 0,
        armed_ns: int | None = None,
    ) -> ProbeState:
        """What the recording says of it: STATE and REASON, but if there is no target, why."""
        if self.target is None:
            state, reason = (ABSENT if self.absent else NOT_ARMED), self.reason
        return ProbeState(
            probe=self.point.name,
            function=self.target.symbol if self.target else self.point.symbols[0],
            module=self.target.module if self.target else self.point.module,
            state=state,
            reason=reason,
            without=self.point.without,
            missed=missed,
            armed_ns=armed_ns,
        )


def resolve(
    points: Iterable[ProbePoint], builtin: Builtin, functions_of: FunctionsOf
) -> list[ResolvedProbe]:
    """Resolve each point: once, or once for each function if ``every`` function is meant."""
    return [found for point in points for found in _resolve(point, builtin, functions_of)]


def _resolve(point: ProbePoint, builtin: Builtin, functions_of: FunctionsOf) -> list[ResolvedProbe]:
    functions = functions_of(point.module) if point.module else None
    for symbol in point.symbols:
        addresses = builtin.get(symbol, ())
        places = functions.get(symbol, ()) if functions else ()
        where = "the kernel" if addresses else str(point.module)
        count = len(addresses) or len(places)
        if count == 1:
            return [ResolvedProbe(point, Target(symbol, None if addresses else point.module))]
        if count > 1 and not point.every:
            return [ResolvedProbe(point, None, f"{count} functions of this name in {where}")]
        if addresses:
            return [_from_stext(point, symbol, address, builtin) for address in addresses]
        if places:
            assert functions is not None
            return [_from_base(point, symbol, place, functions) for place in places]
    return [_nowhere(point, functions is not None)]


def _from_stext(point: ProbePoint, symbol: str, address: int, builtin: Builtin) -> ResolvedProbe:
    base = builtin.get(STEXT, ())
    if len(base) != 1 or not 0 < base[0] < address:
        return ResolvedProbe(point, None, "the kernel hides its addresses (kptr_restrict)")
    return ResolvedProbe(point, Target(symbol, None, STEXT, address - base[0]))


def _from_base(
    point: ProbePoint, symbol: str, place: Function, functions: Mapping[str, Sequence[Function]]
) -> ResolvedProbe:
    """From the nearest uniquely named function before it."""
    before = [
        (found[0].offset, name)
        for name, found in functions.items()
        if len(found) == 1 and found[0].section == place.section and found[0].offset < place.offset
    ]
    if not before:
        reason = f"no uniquely named function before {symbol} in {point.module}"
        return ResolvedProbe(point, None, reason)
    offset, name = max(before)
    return ResolvedProbe(point, Target(symbol, point.module, name, place.offset - offset))


def _nowhere(point: ProbePoint, has_file: bool) -> ResolvedProbe:
    names = " or ".join(point.symbols)
    if point.module is None:
        reason = f"this kernel has no function {names}"
    elif has_file:
        reason = f"no function {names} in module {point.module}"
    else:
        reason = f"{names} is not built in, and there is no module {point.module}"
    return ResolvedProbe(point, None, reason, absent=point.optional)
