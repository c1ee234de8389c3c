# SPDX-License-Identifier: GPL-2.0-or-later
"""The offsets that the BPF program needs: from BTF, and one from tracefs."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from virtio_trace.errors import CannotTraceError
from virtio_trace.kernel.drivers.evidence import Symbols
from virtio_trace.kernel.files.btf import Btf
from virtio_trace.tracer.bpf.wire import WireOffsets
from virtio_trace.tracer.points.struct_offsets import struct_offsets


def read_offsets(btf: Btf, symbols: Symbols, tracefs: Path) -> WireOffsets:
    """All offsets, in bytes. Raises CannotTraceError if a required one is unknown."""
    return offsets_of(struct_offsets(btf, symbols), _module_load_name(tracefs))


def offsets_of(found: Mapping[str, int], module_load_name: int) -> WireOffsets:
    """For the program, of what struct_offsets FOUND, and of MODULE_LOAD_NAME, the offset of the
    name in an entry of tracepoint module:module_load."""
    wanted = {field[0]: found[field[0]] for field in WireOffsets._fields_ if field[0] in found}
    return WireOffsets(module_load_name=module_load_name, **wanted)


def _module_load_name(tracefs: Path) -> int:
    path = tracefs / "events" / "module" / "module_load" / "format"
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise CannotTraceError(
            f"cannot read {path}: {error.strerror}", "run as root, with tracefs mounted"
        ) from error
    match = re.search(r"__data_loc char\[\] name;\s*offset:(\d+);", text)
    if match is None:
        raise CannotTraceError(f"{path} has no field 'name'", "please report this kernel")
    return int(match[1])
