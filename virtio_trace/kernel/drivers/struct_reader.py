# SPDX-License-Identifier: GPL-2.0-or-later
"""Reads a driver struct in a kernel's memory: in an image, or of the running kernel."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from virtio_trace.kernel.drivers import id_tables
from virtio_trace.kernel.drivers.layout import StructLayout
from virtio_trace.kernel.files.memory import Memory

_MAX_FEATURES = 4096


@dataclass(frozen=True, slots=True)
class StructReader:
    """Reads structs of one layout, by address. ``function_at`` names a function."""

    memory: Memory
    shape: StructLayout
    function_at: Callable[[int], str | None]

    def name(self, at: int) -> str | None:
        """The driver's name; None: there is no pointer to one."""
        return self.memory.string_at(self.memory.number_at(at + self.shape.name) or 0) or None

    def ids(self, at: int) -> tuple[tuple[int, int], ...] | None:
        """struct virtio_device_id[] up to the entry of device 0; None: no end."""
        assert self.shape.id_table is not None
        table = self.memory.number_at(at + self.shape.id_table)
        if not table:
            return None
        size = id_tables.VIRTIO_ID_SIZE
        return id_tables.virtio_ids(lambda i: self.memory.bytes_at(table + size * i, size))

    def functions(self, at: int) -> dict[str, str | None]:
        """Function members by name; None: not set, or without a symbol."""
        pointers = {m: self.memory.number_at(at + o) for m, o in self.shape.functions.items()}
        return {m: self.function_at(to) if to else None for m, to in pointers.items()}

    def features(self, at: int) -> tuple[tuple[int, ...], ...]:
        """The bits in feature_table and in feature_table_legacy."""
        return tuple(self._bits(at + table, at + count) for table, count in self.shape.features)

    def _bits(self, table: int, count: int) -> tuple[int, ...]:
        start = self.memory.number_at(table)
        number = min(self.memory.number_at(count, 4) or 0, _MAX_FEATURES)
        bits = (self.memory.number_at(start + 4 * i, 4) for i in range(number)) if start else ()
        return tuple(bit for bit in bits if bit is not None)
