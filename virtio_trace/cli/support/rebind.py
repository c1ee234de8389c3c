# SPDX-License-Identifier: GPL-2.0-or-later
"""``record --rebind``: which devices, whether it is safe, and the results."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Sequence
from typing import Any

from virtio_trace.cli.support.say import say, warn
from virtio_trace.errors import UsageError
from virtio_trace.rebind import read_usage, rebinder
from virtio_trace.rebind.usage import MachineUsage, VirtioDevice, carried, reasons
from virtio_trace.virtio import numbers

QUIET_SECONDS = 1.0
"""After so many seconds without an event, the effects of a rebinding are assumed to be over."""

LONGEST_SECONDS = 30.0
"""The longest wait for that, on a machine where something always happens."""

_GRACE_SECONDS = 10.0


class Rebinds:
    """The devices that --rebind names: checked by the constructor, and rebound one after another.

    A name is an address, virtioN, or a network interface or disk of the device. Raises UsageError
    for an unknown name and, without FORCE, for a device that is needed.
    """

    def __init__(self, names: Sequence[str], force: bool) -> None:
        if force and not names:
            raise UsageError("--force has nothing to force", "it goes with --rebind DEVICE")
        self._targets: list[VirtioDevice] = []
        self.outcomes: list[dict[str, Any]] = []
        if names:
            machine = read_usage.machine_usage()
            self._targets = chosen(names, read_usage.virtio_devices(), machine)
            _permit(self._targets, machine, force)

    def __bool__(self) -> bool:
        return bool(self._targets)

    @property
    def addresses(self) -> tuple[str, ...]:
        """The bus addresses of the devices."""
        return tuple(target.address for target in self._targets)

    @property
    def failed(self) -> bool:
        """Whether a device was not bound again."""
        return any(not outcome["ok"] for outcome in self.outcomes)

    def run(self, consume: Callable[[], int], stopped: Callable[[], bool]) -> None:
        """Rebinds all devices. CONSUME is called repeatedly meanwhile. If STOPPED returns True, no
        other device is started, and the current one is waited for, for some seconds."""
        for target in self._targets:
            if stopped():
                return
            say(f"rebinding {target.address} ({target.name}, {target.driver or 'no driver'})")
            process = rebinder.start(target.name, target.driver)
            gave_up = _wait(process, consume, stopped)
            outcome = _outcome(target, process, gave_up)
            self.outcomes.append(outcome)
            _tell(target, outcome)

    def settle(self, consume: Callable[[], int], stopped: Callable[[], bool]) -> None:
        """Waits until no event has come for a while."""
        last = began = time.monotonic()
        while not stopped():
            if consume():
                last = time.monotonic()
            now = time.monotonic()
            if now - last > QUIET_SECONDS or now - began > LONGEST_SECONDS:
                return


def chosen(
    names: Sequence[str], there: Sequence[VirtioDevice], machine: MachineUsage
) -> list[VirtioDevice]:
    """Each device once, in the order of NAMES. Raises UsageError for a name that none of THERE has,
    and lists them."""
    found: dict[str, VirtioDevice] = {}
    for name in names:
        plain = name.removeprefix("/dev/")
        target = next(
            (t for t in there if plain in (t.address, t.name, *carried(t, machine))), None
        )
        if target is None:
            known = "".join(f"\n  {_described(t, machine)}" for t in there)
            raise UsageError(
                f"--rebind {name}: no device on the VirtIO bus has this address or name",
                f"there are:{known}" if known else "the bus has no device: is virtio_pci loaded?",
            )
        found[target.name] = target
    return list(found.values())


def _described(target: VirtioDevice, machine: MachineUsage) -> str:
    """``0000:00:02.0 (virtio0, net, ens2)``: whatever --rebind takes, and the type."""
    kind = None if target.id is None else numbers.device_type(target.id)
    whole = [name for name in carried(target, machine) if not _is_part(name, target, machine)]
    return f"{target.address} ({', '.join([target.name, kind or 'unknown type', *whole])})"


def _is_part(name: str, target: VirtioDevice, machine: MachineUsage) -> bool:
    """Whether NAME is a partition of a disk of TARGET."""
    return any(
        block.name == name and any(f"/{other}/" in block.path for other in carried(target, machine))
        for block in machine.blocks
    )


def _permit(targets: Sequence[VirtioDevice], machine: MachineUsage, force: bool) -> None:
    for target in targets:
        said = reasons(target, machine)
        if force:
            for reason in said:
                warn(f"{target.address}: {reason}")
        elif said:
            raise UsageError(
                f"--rebind {target.address}: {'; '.join(said)}",
                "it would be gone for a moment, or for good: --force rebinds it anyway",
            )


def _wait(
    process: subprocess.Popen[bytes], consume: Callable[[], int], stopped: Callable[[], bool]
) -> bool:
    """Returns True if we gave up waiting; the process goes on by itself."""
    deadline: float | None = None
    while process.poll() is None:
        consume()
        if deadline is None and stopped():
            deadline = time.monotonic() + _GRACE_SECONDS
        if deadline is not None and time.monotonic() > deadline:
            return True
    return False


def _outcome(
    target: VirtioDevice, process: subprocess.Popen[bytes], gave_up: bool
) -> dict[str, Any]:
    """For the trailer. ``unbind`` and ``bind`` are the results of the writes: 0 or a negative
    errno; None is unknown."""
    assert process.stdout is not None
    said = b"" if gave_up else process.stdout.read()
    process.stdout.close()
    outcome: dict[str, Any] = {"address": target.address, "name": target.name}
    outcome |= {"driver": target.driver, "unbind": None, "bind": None, "bound": None, "ok": False}
    try:
        found = json.loads(said)
    except ValueError:
        return outcome
    unbound = None if target.driver is None else -(found["unbind"] or 0)
    bound = None if unbound else -(found["bind"] or 0)
    ok = not unbound and not bound and found["driver"] is not None
    return outcome | {"unbind": unbound, "bind": bound, "bound": found["driver"], "ok": ok}


def _tell(target: VirtioDevice, outcome: dict[str, Any]) -> None:
    who = f"{target.address} ({target.name})"
    if outcome["ok"]:
        return
    if outcome["unbind"]:
        warn(f"{who} was not unbound from {target.driver}: {_errno(outcome['unbind'])}")
    elif outcome["bind"]:
        to = f"to {target.driver}" if target.driver else "to any driver"
        warn(f"{who} was not bound {to}: {_errno(outcome['bind'])}")
    elif outcome["bind"] is None:
        warn(f"{who}: it is not known whether it was bound again")
    else:
        warn(f"{who}: no driver is bound to it now")


def _errno(result: int) -> str:
    return f"{result} ({numbers.errno_name(result) or 'unknown'})"
