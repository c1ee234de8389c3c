# SPDX-License-Identifier: GPL-2.0-or-later
"""Which function of this kernel a probe point is: settled from symbol tables before arming.

tracefs takes ``module:symbol`` for a module that is away without a look at the symbol, and takes
the first of two functions with one name on some kernels (5.10; 6.1 with a module's name). So
names are counted in the module's own symbol table, and in kallsyms for what is built in. Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from virtio_trace.recording import ABSENT, NOT_ARMED, WAITING, ProbeState
from virtio_trace.tracer.kprobes import Target
from virtio_trace.tracer.probes import ProbePoint

FunctionsOf = Callable[[str], Mapping[str, Sequence[object]] | None]
"""A module's name to its functions by name, each with where they are; None: no such file."""


@dataclass(frozen=True, slots=True)
class Settled:
    """A probe point with the function to arm, or with the reason why there is none."""

    point: ProbePoint
    target: Target | None
    reason: str | None = None
    absent: bool = False

    def state(self, state: str = WAITING, reason: str | None = None, missed: int = 0) -> ProbeState:
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
        )


def settle(
    points: Iterable[ProbePoint], builtin: Mapping[str, int], functions_of: FunctionsOf
) -> list[Settled]:
    """Settle each point. BUILTIN counts the kernel's own functions by name (kallsyms)."""
    return [_settle(point, builtin, functions_of) for point in points]


def _settle(point: ProbePoint, builtin: Mapping[str, int], functions_of: FunctionsOf) -> Settled:
    functions = functions_of(point.module) if point.module else None
    for symbol in point.symbols:
        if builtin.get(symbol, 0) == 1:
            return Settled(point, Target(symbol, None))
        if builtin.get(symbol, 0) > 1:
            return Settled(point, None, f"{builtin[symbol]} functions of this name in the kernel")
        count = len(functions.get(symbol, ())) if functions else 0
        if count == 1:
            return Settled(point, Target(symbol, point.module))
        if count > 1:
            return Settled(point, None, f"{count} functions of this name in {point.module}")
    names = " or ".join(point.symbols)
    if point.module is None:
        return Settled(point, None, f"this kernel has no function {names}")
    if functions is None:
        reason = f"{names} is not built in, and there is no module {point.module}"
    else:
        reason = f"no function {names} in module {point.module}"
    return Settled(point, None, reason, absent=point.optional)
