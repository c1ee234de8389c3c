# SPDX-License-Identifier: GPL-2.0-or-later
"""What boot boots: a kernel with its modules, or a third-party system."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from virtio_trace.cli.support.progress import ProgressBar
from virtio_trace.cli.support.say import say, warn
from virtio_trace.errors import UsageError
from virtio_trace.kernel.files.machine import X86_64, Machine, by_debian
from virtio_trace.render.escape import escape
from virtio_trace.vm import arch
from virtio_trace.vm.disk import extract, image_modules, initrd_modules, partitions
from virtio_trace.vm.host import cache, debian
from virtio_trace.vm.host.programs import need
from virtio_trace.vm.plan import Plan, Settings
from virtio_trace.vm.root import foreign_initrd
from virtio_trace.vm.root.foreign_initrd import ThirdPartySystem


@dataclass(frozen=True, slots=True)
class Source:
    """The options that name it, as given."""

    vmlinuz: str | None
    modules: str | None
    package: str | None
    initrd: str | None
    image: str | None
    backing: tuple[str, ...] = ()

    @property
    def is_third_party(self) -> bool:
        """Whether it is a system that somebody else built."""
        return self.initrd is not None or self.image is not None

    def machine(self) -> Machine:
        """The kernel's machine, as far as it is known before anything is fetched or extracted.

        Raises BadInputError if VMLINUZ is not a kernel image.
        """
        if self.vmlinuz is not None:
            return arch.of_kernel(Path(self.vmlinuz))
        name = debian.foreign(self.package) if self.package is not None else None
        return by_debian(name or "") or X86_64

    def check(self, settings: Settings, until: str | None) -> None:
        """Raises UsageError unless one source is named, with options that go with it."""
        self._one()
        if self.package is not None:
            debian.parse(self.package)
        options = settings.options
        if options and not options[0].startswith("-"):
            raise UsageError(f"{options[0]}: not an option of QEMU", "QEMU's options come after --")
        if self.is_third_party and settings.run is not None:
            raise UsageError(
                "--run does not go with --image or --initrd: that system runs its own programs",
                "give --run with --debian, or --kernel and --modules",
            )
        if until is not None and not self.is_third_party:
            raise UsageError(
                "--until is for --image and --initrd: other guests end with their drivers loaded",
                "leave it out, or give --run CMD",
            )
        if self.backing and self.image is None:
            raise UsageError("--backing is for --image", "leave it out, or give --image DISK")
        for folder in self.backing:
            if not Path(folder).is_dir():
                raise UsageError(f"--backing {folder}: not a folder", "name a folder")
        foreign_initrd.parse_until(until or "running")
        if self.image is not None:
            need(partitions.TOOLS)

    @contextmanager
    def plan(self, settings: Settings, until: str | None, progress: ProgressBar) -> Iterator[Plan]:
        """The plan. Files extracted from an image or an initrd are removed at the end of the
        context."""
        modules = Path(self.modules) if self.modules is not None else None
        if self.package is not None:
            kernel = debian.fetch(self.package, progress)
            if kernel.note:
                warn(kernel.note)
            yield Plan.of(kernel.vmlinuz, kernel.modules, settings)
        elif self.image is not None:
            with cache.scratch("image") as scratch, cache.reaped(scratch):
                yield self._image(settings, until, scratch, progress)
        elif self.initrd is not None:
            third_party = ThirdPartySystem(
                (Path(self.initrd),), until=foreign_initrd.parse_until(until or "running")
            )
            vmlinuz = Path(self.vmlinuz or "")
            if modules is not None:
                yield Plan.of(vmlinuz, modules, settings, third_party=third_party)
                return
            with cache.scratch("initrd") as scratch, cache.reaped(scratch):
                modules = _modules_of(vmlinuz, third_party, scratch, progress)
                third_party = replace(third_party, only_initrd=True)
                yield Plan.of(vmlinuz, modules, settings, third_party=third_party)
        else:
            yield Plan.of(Path(self.vmlinuz or ""), modules, settings)

    def _image(
        self, settings: Settings, until: str | None, scratch: Path, progress: ProgressBar
    ) -> Plan:
        cache.sweep()
        system = extract.extract_system(
            *(Path(self.image or ""), settings.append, scratch, progress),
            backing=[Path(folder) for folder in self.backing],
        )
        for note in system.notes:
            say(escape(note))
        third_party = ThirdPartySystem(
            system.initrds,
            system.options,
            system.tree,
            foreign_initrd.parse_until(until or "running"),
            system.image,
        )
        return Plan.of(system.vmlinuz, system.modules, settings, third_party=third_party)

    def _one(self) -> None:
        kernel = self.vmlinuz is not None or self.modules is not None
        named = [
            name
            for name, there in (
                ("--debian", self.package is not None),
                ("--image", self.image is not None),
                ("--kernel", kernel or self.initrd is not None),
            )
            if there
        ]
        if len(named) > 1:
            raise UsageError(f"{' and '.join(named)} exclude each other", "give one of them")
        whole = self.vmlinuz is not None and (self.modules or self.initrd) is not None
        if not named or (named == ["--kernel"] and not whole):
            raise UsageError(
                "which kernel? --debian PACKAGE, --image DISK, or --kernel VMLINUZ with "
                "--modules DIR or --initrd FILE",
                "for example: virtio-trace boot --debian linux-image-cloud-amd64/bookworm",
            )


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
