# SPDX-License-Identifier: GPL-2.0-or-later
"""What boot is to boot: a kernel with its modules, or a system that somebody else made."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from virtio_trace.cli.support.progress import ProgressBar
from virtio_trace.cli.support.say import say, warn
from virtio_trace.errors import UsageError
from virtio_trace.render.escape import escape
from virtio_trace.vm import arch, boot
from virtio_trace.vm.arch import Arch
from virtio_trace.vm.disk import extract, partitions
from virtio_trace.vm.host import cache, debian
from virtio_trace.vm.host.programs import need
from virtio_trace.vm.root import foreign_initrd
from virtio_trace.vm.root.foreign_initrd import ThirdPartySystem


@dataclass(frozen=True, slots=True)
class Source:
    """The options that name it, as they were given."""

    vmlinuz: str | None
    modules: str | None
    package: str | None
    initrd: str | None
    image: str | None

    @property
    def is_foreign(self) -> bool:
        """Whether it is a system that somebody else made."""
        return self.initrd is not None or self.image is not None

    def machine(self) -> Arch:
        """The machine of the kernel that is to be booted, before anything is fetched; an image's
        kernel is known only once it is taken out of it.

        Raises BadInputError where VMLINUZ is no kernel image.
        """
        if self.vmlinuz is not None:
            return arch.of_kernel(Path(self.vmlinuz))
        name = debian.foreign(self.package) if self.package is not None else None
        return arch.of_debian(name or "") or arch.X86_64

    def check(self, settings: boot.Settings, until: str | None) -> None:
        """Raises UsageError unless exactly one is named, and nothing that it does not take."""
        self._one()
        if self.package is not None:
            debian.parse(self.package)
        options = settings.options
        if options and not options[0].startswith("-"):
            raise UsageError(f"{options[0]}: not an option of QEMU", "QEMU's options come after --")
        if self.is_foreign and settings.run is not None:
            raise UsageError(
                "--run does not go with --image or --initrd: such a system runs what it has",
                "give --run with --debian, or --kernel and --modules",
            )
        if until is not None and not self.is_foreign:
            raise UsageError(
                "--until is for --image and --initrd: another guest ends with its drivers loaded",
                "leave it out, or give --run CMD",
            )
        foreign_initrd.parse_until(until or "running")
        if self.image is not None:
            need(partitions.TOOLS)

    @contextmanager
    def plan(
        self, settings: boot.Settings, until: str | None, progress: ProgressBar
    ) -> Iterator[boot.Plan]:
        """The boot; what was taken out of an image is there as long as the context is."""
        modules = Path(self.modules) if self.modules is not None else None
        if self.package is not None:
            kernel = debian.fetch(self.package, progress)
            if kernel.note:
                warn(kernel.note)
            yield boot.Plan(kernel.vmlinuz, kernel.modules, settings)
        elif self.image is not None:
            with cache.scratch("image") as scratch, cache.reaped(scratch):
                yield self._image(settings, until, scratch, progress)
        elif self.initrd is not None:
            foreign = ThirdPartySystem(
                (Path(self.initrd),), until=foreign_initrd.parse_until(until or "running")
            )
            yield boot.Plan(Path(self.vmlinuz or ""), modules, settings, third_party=foreign)
        else:
            yield boot.Plan(Path(self.vmlinuz or ""), modules, settings)

    def _image(
        self, settings: boot.Settings, until: str | None, scratch: Path, progress: ProgressBar
    ) -> boot.Plan:
        cache.sweep()
        system = extract.extract_system(Path(self.image or ""), settings.append, scratch, progress)
        for note in system.notes:
            say(escape(note))
        foreign = ThirdPartySystem(
            system.initrds,
            system.options,
            system.tree,
            foreign_initrd.parse_until(until or "running"),
            system.image,
        )
        return boot.Plan(system.vmlinuz, system.modules, settings, third_party=foreign)

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
