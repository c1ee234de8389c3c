# SPDX-License-Identifier: GPL-2.0-or-later
"""Finds the folder bpf/: beside the package in a source tree, inside it in a wheel."""

from __future__ import annotations

from pathlib import Path

import virtio_trace
from virtio_trace.errors import CannotTraceError

_NAME = "probe.bpf.c"


def bpf_folder() -> Path:
    """The folder with probe.bpf.c. Raises CannotTraceError if the installation lacks it."""
    package = Path(virtio_trace.__file__).resolve().parent
    for folder in (package / "bpf", package.parent / "bpf"):
        if (folder / _NAME).is_file():
            return folder
    raise CannotTraceError(
        f"{_NAME} is missing beside {package}",
        "install virtio-trace again, from a wheel or a clone",
    )
