# SPDX-License-Identifier: GPL-2.0-or-later
"""Third-party systems to boot: a disk image, an initrd, a unified kernel image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from virtio_trace.cli.support.progress import ProgressBar
from virtio_trace.cli.support.say import say, warn
from virtio_trace.render.escape import escape
from virtio_trace.vm import arch
from virtio_trace.vm.disk import extract, image_modules, initrd_modules, uki
from virtio_trace.vm.disk.extract import Given
from virtio_trace.vm.host import cache
from virtio_trace.vm.plan import Plan, Settings
from virtio_trace.vm.root import foreign_initrd, payload
from virtio_trace.vm.root.foreign_initrd import ThirdPartySystem
from virtio_trace.vm.root.until import Until


def given(vmlinuz: str | None, initrd: str | None, modules: str | None, scratch: Path) -> Given:
    """The kernel, initrd and modules that are given. A unified kernel image is extracted into
    SCRATCH, and has all but its modules; INITRD replaces its own.

    Raises BadInputError, CannotTraceError.
    """
    found = Given(
        vmlinuz=Path(vmlinuz) if vmlinuz is not None else None,
        initrds=(Path(initrd),) if initrd is not None else (),
        modules=Path(modules) if modules is not None else None,
    )
    if found.vmlinuz is None or uki.machine(found.vmlinuz) is None:
        return found
    unified = uki.extract(found.vmlinuz, cache.folder(scratch / "unified-kernel"))
    return replace(
        found,
        vmlinuz=unified.vmlinuz,
        initrds=found.initrds or unified.initrds,
        options=unified.options,
    )


def image_plan(
    disk: Path,
    ours: Given,
    settings: Settings,
    scratch: Path,
    progress: ProgressBar,
    *,
    until: Until,
    backing: Sequence[Path],
) -> Plan:
    """The plan that boots the image DISK, with what is OURS in place of its own."""
    cache.sweep()
    for initrd in ours.initrds:
        foreign_initrd.check_initrd(initrd)
    if ours.modules is not None:
        payload.check_modules(ours.modules)
    system = extract.extract_system(
        disk, settings.append, scratch, progress, backing=backing, given=ours
    )
    for note in system.notes:
        say(escape(note))
    third_party = ThirdPartySystem(
        system.initrds,
        system.options,
        system.tree,
        until,
        system.image,
        only_initrd=system.only_initrd,
    )
    return Plan.of(system.vmlinuz, system.modules, settings, third_party=third_party)


def initrd_plan(
    ours: Given, settings: Settings, until: Until, scratch: Path, progress: ProgressBar
) -> Plan:
    """The plan that boots a kernel with its initrd, and no disk."""
    assert ours.vmlinuz is not None
    third_party = ThirdPartySystem(ours.initrds, ours.options or "", until=until)
    if ours.modules is not None:
        return Plan.of(ours.vmlinuz, ours.modules, settings, third_party=third_party)
    modules = _modules_of(ours.vmlinuz, third_party, scratch, progress)
    third_party = replace(third_party, only_initrd=True)
    return Plan.of(ours.vmlinuz, modules, settings, third_party=third_party)


def _modules_of(
    vmlinuz: Path, system: ThirdPartySystem, scratch: Path, progress: ProgressBar
) -> Path | None:
    """The folder of the modules that the system's initrd has, extracted into SCRATCH."""
    cache.sweep()
    arch.of_kernel(vmlinuz)
    initrds = [foreign_initrd.check_initrd(path) for path in system.initrds]
    release = image_modules.release(vmlinuz) or None
    notes: list[str] = []
    modules = initrd_modules.extract(initrds, release, scratch, progress, notes)
    for note in notes:
        warn(escape(note))
    return modules
