# SPDX-License-Identifier: GPL-2.0-or-later
"""Which functions of this kernel a probe point is: settled from symbol tables before arming.

tracefs takes ``module:symbol`` for a module that is away without a look at the symbol, and takes
the first of two functions with one name on some kernels (5.10; 6.1 with a module's name). So
names are counted in the module's own symbol table, and in kallsyms for what is built in. Where
several functions of a name are meant, each is reached from a symbol that is alone in its name:
one of the module's before it in its section, or the kernel's _stext. Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from virtio_trace.kernel.files.elf_tables import Function
from virtio_trace.recording.probe_state import ABSENT, NOT_ARMED, WAITING, ProbeState
from virtio_trace.tracer.points.table import ProbePoint
from virtio_trace.tracer.points.target import Target

STEXT = "_stext"
"""Where the kernel's text begins: the base of built-in functions that share a name."""

FunctionsOf = Callable[[str], Mapping[str, Sequence[Function]] | None]
"""A module's name to its functions by name, each with where they are; None: no such file."""

Builtin = Mapping[str, Sequence[int]]
"""The kernel's own functions by name: their addresses (kallsyms)."""


@dataclass(frozen=True, slots=True)
class Settled:
    """A probe point with a function to arm, or with the reason why there is none."""

    point: ProbePoint
    target: Target | None
    reason: str | None = None
    absent: bool = False

    @property
    def listed(self) -> list[tuple[str, str, str | None]]:
        """Its lines in the kernel's list of kprobes: kind, symbol, module."""
        if self.target is None:
            return []
        kinds = "kr" if self.point.returns else "k"
        return [(kind, self.target.symbol, self.target.module) for kind in kinds]

    def state(
        self,
        state: str = WAITING,
        reason: str | None = None,
        missed: int = 0,
        armed_ns: int | None = None,
    ) -> ProbeState:
        """For the recording; STATE is that of a settled point, the others know theirs."""
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


def settle(
    points: Iterable[ProbePoint], builtin: Builtin, functions_of: FunctionsOf
) -> list[Settled]:
    """Settle each point: once, or once for each function where ``every`` of a name is meant."""
    return [found for point in points for found in _settle(point, builtin, functions_of)]


def _settle(point: ProbePoint, builtin: Builtin, functions_of: FunctionsOf) -> list[Settled]:
    functions = functions_of(point.module) if point.module else None
    for symbol in point.symbols:
        addresses = builtin.get(symbol, ())
        places = functions.get(symbol, ()) if functions else ()
        where = "the kernel" if addresses else str(point.module)
        count = len(addresses) or len(places)
        if count == 1:
            return [Settled(point, Target(symbol, None if addresses else point.module))]
        if count > 1 and not point.every:
            return [Settled(point, None, f"{count} functions of this name in {where}")]
        if addresses:
            return [_from_stext(point, symbol, address, builtin) for address in addresses]
        if places:
            assert functions is not None
            return [_from_base(point, symbol, place, functions) for place in places]
    return [_nowhere(point, functions is not None)]


def _from_stext(point: ProbePoint, symbol: str, address: int, builtin: Builtin) -> Settled:
    base = builtin.get(STEXT, ())
    if len(base) != 1 or not 0 < base[0] < address:
        return Settled(point, None, "the kernel hides its addresses (kptr_restrict)")
    return Settled(point, Target(symbol, None, STEXT, address - base[0]))


def _from_base(
    point: ProbePoint, symbol: str, place: Function, functions: Mapping[str, Sequence[Function]]
) -> Settled:
    """From the nearest function before it whose name is its own."""
    before = [
        (found[0].offset, name)
        for name, found in functions.items()
        if len(found) == 1 and found[0].section == place.section and found[0].offset < place.offset
    ]
    if not before:
        reason = f"no function of a name of its own before {symbol} in {point.module}"
        return Settled(point, None, reason)
    offset, name = max(before)
    return Settled(point, Target(symbol, point.module, name, place.offset - offset))


def _nowhere(point: ProbePoint, has_file: bool) -> Settled:
    names = " or ".join(point.symbols)
    if point.module is None:
        reason = f"this kernel has no function {names}"
    elif has_file:
        reason = f"no function {names} in module {point.module}"
    else:
        reason = f"{names} is not built in, and there is no module {point.module}"
    return Settled(point, None, reason, absent=point.optional)
