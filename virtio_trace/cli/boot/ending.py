# SPDX-License-Identifier: GPL-2.0-or-later
"""Tells how a boot ended: in messages, and as the error that is the command's exit status."""

from __future__ import annotations

import click

from virtio_trace.cli.support.say import say, warn
from virtio_trace.errors import CannotTraceError, IncompleteError, VirtioTraceError
from virtio_trace.render.escape import escape
from virtio_trace.vm import console
from virtio_trace.vm.outcome import Outcome
from virtio_trace.vm.plan import Plan
from virtio_trace.vm.qemu.channel import LONGEST_LINE
from virtio_trace.vm.root import foreign_initrd

_STATUS_CANNOT = 3
STATUS_INCOMPLETE = 4

_STDERR_LINES = 20
_CONSOLE_LINES = 10
"""Of a system that did not come up. A guest that died or hangs has printed a stack trace too."""


def conclude(outcome: Outcome, plan: Plan) -> VirtioTraceError | None:
    """Prints how the guest ended. Returns what is wrong; None if its recording is complete."""
    if outcome.dropped:
        warn(
            f"{outcome.dropped} lines of the guest had more than {LONGEST_LINE >> 20} MiB "
            "and were dropped: their events are lost"
        )
    if outcome.damaged:
        warn(f"{outcome.damaged} lines were damaged on the way from the guest: they are lost")
    if outcome.end == "done" and outcome.recorder in (None, 0, STATUS_INCOMPLETE):
        _tell_done(outcome, plan)
        return None
    if outcome.end == "done":
        return _recorder_failed(outcome)
    lives = outcome.end == "timeout" and plan.third_party is not None
    _show_console(outcome, _CONSOLE_LINES if lives else len(outcome.tail))
    if outcome.end == "died" and outcome.stderr.strip():
        warn("QEMU ended by itself and said:")
        _show_stderr(outcome)
    _say_causes(outcome, plan)
    silent = f"its console is empty: is {plan.vmlinuz} a whole kernel for this machine?"
    if outcome.end == "timeout":
        above = "its console's last lines are above; --timeout S gives it longer"
        end = "ended" if plan.third_party is None else "reached what --until waits for"
        return IncompleteError(
            f"the guest had not {end} after {plan.settings.timeout:g} s",
            above if outcome.tail else silent,
        )
    above = "its console's last lines are above; --keep-console FILE keeps all of them"
    return IncompleteError(
        f"the guest died after {outcome.seconds:.1f} s", above if outcome.tail else silent
    )


def _tell_done(outcome: Outcome, plan: Plan) -> None:
    after = f"after {outcome.seconds:.1f} s ({outcome.accel})"
    if outcome.qemu_failed:
        complete = "; the recording was complete" if outcome.recorder is None else ""
        warn(f"QEMU failed (status {outcome.status}) {after}{complete}; it said:")
        _show_stderr(outcome)
        if outcome.recorder is None:
            return
    stop = outcome.stop
    if stop is None:
        say(f"the guest ended {after}")
    elif stop.reached:
        say(f"enough {after}: {stop.why}")
    else:
        _show_console(outcome, _CONSOLE_LINES)
        text = plan.third_party.until.text if plan.third_party else ""
        what = f'the console did not print "{text}"' if text else "the system did not come up"
        warn(f"{what} {after}: {stop.why}")
        _say_causes(outcome, plan)


def _say_causes(outcome: Outcome, plan: Plan) -> None:
    """What kept the system from coming up, as far as its console and its command line show."""
    for cause in outcome.causes:
        say(cause)
    stands = outcome.stop is not None and not outcome.stop.reached
    if plan.third_party is None or outcome.qemu_failed or not (stands or outcome.causes):
        return  # a slow system, or an installer, may need no root=
    if not console.has_root(foreign_initrd.options(plan.third_party, plan.settings.append)):
        say("the kernel's command line has no root=: --append root=DEVICE adds it")


def _show_console(outcome: Outcome, most: int) -> None:
    """The last lines of the guest's console."""
    for line in outcome.tail[-most:] if most else ():
        click.echo(f"  | {escape(line)}", err=True)


def _show_stderr(outcome: Outcome) -> None:
    """The last lines of what QEMU wrote to its standard error."""
    lines = [line for line in outcome.stderr.splitlines() if line.strip()]
    for line in lines[-_STDERR_LINES:] or ["nothing"]:
        click.echo(f"  | {escape(line)}", err=True)


def _recorder_failed(outcome: Outcome) -> VirtioTraceError:
    """The guest's recorder failed: the error repeats its own message and hint."""
    at = max(
        (n for n, line in enumerate(outcome.said) if line.startswith("virtio-trace: ")), default=-1
    )
    message = outcome.said[at].removeprefix("virtio-trace: ") if at >= 0 else ""
    hint = " ".join(outcome.said[at + 1 :])
    if outcome.recorder == _STATUS_CANNOT and message:
        return CannotTraceError(f"in the guest: {escape(message)}", escape(hint))
    last = escape(outcome.said[-1]) if outcome.said else "nothing"
    return IncompleteError(
        f"the guest's recorder ended with status {outcome.recorder} and said: {last}",
        "--keep-console FILE keeps all that it said",
    )
