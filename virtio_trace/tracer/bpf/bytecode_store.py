# SPDX-License-Identifier: GPL-2.0-or-later
"""Where bytecode is kept: files of the package, and a cache of what BCC compiled here.

The kernel runs what these files say, with root's rights (private_cache.py). A file that is damaged,
of another version of bpf/ or of another compiler is as good as none.
"""

from __future__ import annotations

from pathlib import Path

import virtio_trace
from virtio_trace.errors import BadInputError
from virtio_trace.tracer import private_cache
from virtio_trace.tracer.bpf.bytecode import Bytecode, decode, encode

FOLDER = "bytecode"
"""The cache's folder for it."""

PACKAGED = Path(virtio_trace.__file__).resolve().parent / "bytecode"
"""Where a package has its bytecode; a clone has none, unless ``make bytecode`` wrote it."""


def packaged(name: str, source: str) -> Bytecode | None:
    """The package's file NAME, if it was compiled from SOURCE."""
    try:
        code = decode((PACKAGED / f"{name}.bin").read_bytes(), "package")
    except (OSError, BadInputError):
        return None
    return code if code.source == source else None


def absence(name: str) -> str:
    """Why there is no NAME, which neither packaged() nor cached() has found."""
    path = PACKAGED / f"{name}.bin"
    if path.exists():
        return f"{path} is damaged, or of another version of virtio-trace; the cache has none"
    return "neither the package nor the cache has it"


def write_packaged(folder: Path, name: str, code: Bytecode) -> Path:
    """Write CODE as a package's file, and return its path."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.bin"
    path.write_bytes(encode(code))
    return path


def cached(name: str, source: str, compiler: str | None) -> Bytecode | None:
    """What COMPILER made of SOURCE, if the cache has it; None: any compiler, as there is none."""
    data = private_cache.read(FOLDER, _file_name(name, source))
    try:
        code = decode(data, "cache") if data is not None else None
    except BadInputError:
        return None
    if code is None or code.source != source or code.compiler != (compiler or code.compiler):
        return None
    return code


def keep(name: str, code: Bytecode) -> None:
    """Put CODE into the cache, if there can be one."""
    private_cache.keep(FOLDER, _file_name(name, code.source), encode(code))


def _file_name(name: str, source: str) -> str:
    return f"{name}-{source[:32]}.bin"
