# SPDX-License-Identifier: GPL-2.0-or-later
"""A kernel's types: parsed by libbpf, queried as virtio-trace does."""

from __future__ import annotations

import contextlib
import tempfile
from pathlib import Path

from virtio_trace.errors import VirtioTraceError
from virtio_trace.kernel.drivers import layout
from virtio_trace.kernel.drivers.evidence import Symbols
from virtio_trace.kernel.files.btf import Btf
from virtio_trace.kernel.files.module_tree import ModuleTree
from virtio_trace.tracer.points.struct_offsets import struct_offsets

LONGEST = 1 << 15
MEGABYTES = 2048
_MAGIC = b"\x9f\xeb\x01\0"
WORDS = (_MAGIC + b"\x18\0\0\0", b"\0\0\0\4", b"\0\0\0\x84", b"\0\0\0\2", b"\0\0\0\x0d")


def one(data: bytes) -> None:
    second = data.find(_MAGIC, 1)
    types = Btf(data[:second] if second > 0 else data, "fuzzed")
    for name in layout.DRIVERS:
        if types.has(name):
            with contextlib.suppress(VirtioTraceError):
                layout.struct_from_btf(types, name)
    layout.from_btf(types)
    with tempfile.TemporaryDirectory() as tree:
        (Path(tree) / "modules.builtin").touch()
        struct_offsets(types, Symbols(ModuleTree(Path(tree))))
    module = Btf(data[max(0, second) :], "fuzzed, of a module", types)
    for name in layout.DRIVERS:
        if module.has(name):
            layout.struct_from_btf(module, name)
