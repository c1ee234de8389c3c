# SPDX-License-Identifier: GPL-2.0-or-later
"""What boot boots: a kernel with its modules, or a third-party system."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from virtio_trace.cli.boot import third_party
from virtio_trace.cli.support.progress import ProgressBar
from virtio_trace.cli.support.say import warn
from virtio_trace.errors import UsageError
from virtio_trace.kernel.files.machine import X86_64, Machine, by_debian
from virtio_trace.vm import arch
from virtio_trace.vm.disk import partitions, uki
from virtio_trace.vm.host import cache, debian
from virtio_trace.vm.host.programs import need
from virtio_trace.vm.plan import Plan, Settings
from virtio_trace.vm.root import foreign_initrd


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
        return self.initrd is not None or self.image is not None or self._is_unified

    @property
    def _is_unified(self) -> bool:
        return self.vmlinuz is not None and uki.machine(Path(self.vmlinuz)) is not None

    def machine(self) -> Machine:
        """The kernel's machine, as far as it is known before anything is fetched or extracted.

        Raises BadInputError if VMLINUZ is not a kernel image.
        """
        if self.vmlinuz is not None:
            return uki.machine(Path(self.vmlinuz)) or arch.of_kernel(Path(self.vmlinuz))
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
                "--run does not go with --image, --initrd or a unified kernel image: that system "
                "runs its own programs",
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
        """The plan. Files extracted from an image, an initrd or a unified kernel image are removed
        at the end of the context."""
        if self.package is not None:
            kernel = debian.fetch(self.package, progress)
            if kernel.note:
                warn(kernel.note)
            yield Plan.of(kernel.vmlinuz, kernel.modules, settings)
        elif self.is_third_party:
            with cache.scratch("image") as scratch, cache.reaped(scratch):
                yield self._third_party(settings, until, scratch, progress)
        else:
            yield Plan.of(Path(self.vmlinuz or ""), Path(self.modules or ""), settings)

    def _third_party(
        self, settings: Settings, until: str | None, scratch: Path, progress: ProgressBar
    ) -> Plan:
        when = foreign_initrd.parse_until(until or "running")
        ours = third_party.given(self.vmlinuz, self.initrd, self.modules, scratch)
        if self.image is None:
            if not ours.initrds:
                raise UsageError(
                    f"{self.vmlinuz} is a unified kernel image without an initrd",
                    "give one: --initrd FILE",
                )
            return third_party.initrd_plan(ours, settings, when, scratch, progress)
        backing = [Path(folder) for folder in self.backing]
        return third_party.image_plan(
            *(Path(self.image), ours, settings, scratch, progress),
            until=when,
            backing=backing,
        )

    def _one(self) -> None:
        kernel = self.vmlinuz is not None or self.modules is not None or self.initrd is not None
        if self.package is not None and (kernel or self.image is not None):
            other = "--image" if self.image is not None else "--kernel"
            raise UsageError(f"--debian and {other} exclude each other", "give one of them")
        if self.package is not None or self.image is not None:
            return
        with_it = (self.modules or self.initrd) is not None
        if self.vmlinuz is None or not (with_it or self._is_unified):
            raise UsageError(
                "which kernel? --debian PACKAGE, --image DISK, or --kernel VMLINUZ with "
                "--modules DIR or --initrd FILE",
                "for example: virtio-trace boot --debian linux-image-cloud-amd64/bookworm",
            )
