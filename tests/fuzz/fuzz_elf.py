# SPDX-License-Identifier: GPL-2.0-or-later
"""A kernel module: its tables, and the drivers in it."""

from __future__ import annotations

from tests.fuzz.kernel import LAYOUT
from virtio_trace.kernel.drivers import in_modules
from virtio_trace.kernel.files.elf import Module
from virtio_trace.kernel.files.elf_tables import Place

LONGEST = 1 << 15
WORDS = (b"register_virtio_driver", b"init_module", b".rela.text", b".symtab", b"\xe8\0\0\0\0")


def one(data: bytes) -> None:
    module = Module(data, "fuzzed.ko")
    in_modules.virtio_drivers(module, LAYOUT, "fuzzed.ko")
    in_modules.transports(module, LAYOUT, "fuzzed.ko")
    in_modules.registrations(module, LAYOUT)
    _ = module.functions, module.init, module.build_id
    for index, section in enumerate(module.sections[:64]):
        module.pointers(index)
        module.string_at(Place(index, 0))
        module.function_around(Place(index, section.size // 2))
