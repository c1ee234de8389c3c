# SPDX-License-Identifier: GPL-2.0-or-later
"""Opens a kernel image for ``inspect``, in the background, and finds the image of a module."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from virtio_trace.errors import VirtioTraceError
from virtio_trace.kernel.files import compression, vmlinuz
from virtio_trace.kernel.files.background import BackgroundRead
from virtio_trace.kernel.files.btf import Btf
from virtio_trace.kernel.files.elf import Module
from virtio_trace.kernel.files.machine import Machine, of_kernel

_RELEASE = re.compile(r"[\w.+~-]{1,64}")


@dataclass(frozen=True, slots=True)
class OpenedImage:
    """A kernel image. ``data`` is the unpacked kernel, b"" where only the types were read; ``btf``
    is None where it has none."""

    path: Path
    data: bytes
    release: str | None
    btf: Btf | None

    @property
    def machine(self) -> Machine | None:
        """None where the kernel was not read whole, or its machine is not supported."""
        return of_kernel(self.data)

    def fits(self, release: str | None) -> bool:
        """Whether it may be the image of the kernel RELEASE; None is an unknown one."""
        return self.release is None or release in (None, self.release)


def open_image(path: Path, *, whole: bool) -> OpenedImage:
    """Read a kernel image, its types only or the WHOLE of it.

    Raises BadInputError where it is not a kernel image, CannotTraceError.
    """
    btf, release = vmlinuz.types(path)
    data = vmlinuz.payload(compression.read_file(path), str(path)) if whole else b""
    return OpenedImage(path, data, release, btf)


def start_opening(image: Path | None, *, whole: bool) -> BackgroundRead[OpenedImage] | None:
    """Open IMAGE in the background; None where there is no image."""
    return BackgroundRead(lambda: open_image(image, whole=whole)) if image else None


def finish_opening(
    opening: BackgroundRead[OpenedImage] | None, named: Path | None, unknown: list[str]
) -> OpenedImage | None:
    """The opened image. If it was not NAMED by the user and cannot be read, the reason is added to
    UNKNOWN and the result is None; else raises as :func:`open_image`."""
    try:
        return opening.result() if opening else None
    except VirtioTraceError as error:
        if named:
            raise
        unknown.append(str(error))
        return None


def release_of(module: Module) -> str | None:
    """The kernel that a module is for (include/linux/vermagic.h); None: it does not say."""
    magic = next((value for key, value in module.modinfo() if key == "vermagic"), "")
    release = magic.partition(" ")[0]
    return release if _RELEASE.fullmatch(release) else None


def image_of(file: Path, release: str | None) -> Path | None:
    """The image of the kernel RELEASE whose module tree FILE is in, or that is beside FILE."""
    if release is None:
        return None
    ups = file.absolute().parents
    tree = next((up for up in ups if up.name == release), ups[0])
    return vmlinuz.find(release, tree)
