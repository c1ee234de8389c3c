# SPDX-License-Identifier: GPL-2.0-or-later
"""Where bytecode is kept: files of the package, and a cache of what BCC compiled here.

The kernel runs what these files say, with root's rights. A cached file is used only if nobody but
root and this user could have written it. A file that is damaged, of another version of bpf/ or of
another compiler is as good as none.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
from collections.abc import Iterator
from pathlib import Path

import virtio_trace
from virtio_trace.errors import BadInputError
from virtio_trace.tracer.bpf.bytecode import Bytecode, decode, encode

PACKAGED = Path(virtio_trace.__file__).resolve().parent / "bytecode"
"""Where a package has its bytecode; a clone has none, unless ``make bytecode`` wrote it."""

_OTHERS = stat.S_IWGRP | stat.S_IWOTH
_LARGEST = 1 << 20  # bytes; a file has 40 thousand


def packaged(name: str, source: str) -> Bytecode | None:
    """The package's file NAME, if it was compiled from SOURCE."""
    try:
        code = decode((PACKAGED / f"{name}.bin").read_bytes(), "package")
    except (OSError, BadInputError):
        return None
    return code if code.source == source else None


def write_packaged(folder: Path, name: str, code: Bytecode) -> Path:
    """Write CODE as a package's file, and return its path."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.bin"
    path.write_bytes(encode(code))
    return path


def cached(name: str, source: str, compiler: str | None) -> Bytecode | None:
    """What COMPILER made of SOURCE, if the cache has it; None: any compiler, as there is none."""
    with _folder(create=False) as folder:
        if folder is None:
            return None
        try:
            code = decode(_read(folder, _file_name(name, source)), "cache")
        except (OSError, BadInputError):
            return None
    return code if (code.source, compiler or code.compiler) == (source, code.compiler) else None


def keep(name: str, code: Bytecode) -> None:
    """Put CODE into the cache, if there can be one. Others may do the same at the same time."""
    with _folder(create=True) as folder, contextlib.suppress(OSError):
        if folder is None:
            return
        fresh = f".{os.getpid()}.{secrets.token_hex(8)}"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        try:
            with os.fdopen(os.open(fresh, flags, 0o600, dir_fd=folder), "wb") as file:
                file.write(encode(code))
            final = _file_name(name, code.source)
            os.rename(fresh, final, src_dir_fd=folder, dst_dir_fd=folder)
        except OSError:
            with contextlib.suppress(OSError):
                os.unlink(fresh, dir_fd=folder)


def cache_folder() -> Path | None:
    """``$XDG_CACHE_HOME/virtio-trace/bytecode``; None if this user has no home."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    # XDG Base Directory Specification: a relative path must be ignored.
    if not base.startswith("/"):
        try:
            base = str(Path.home() / ".cache")
        except RuntimeError:  # no HOME, and no such user in the password database
            return None
    return Path(base) / "virtio-trace" / "bytecode"


@contextlib.contextmanager
def _folder(*, create: bool) -> Iterator[int | None]:
    """A descriptor of the cache's folder; None if it is missing, or others may write to it."""
    path = cache_folder()
    descriptor = None
    with contextlib.suppress(OSError):
        if path is not None and create and _may_create(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.mkdir(mode=0o700, exist_ok=True)
        if path is not None:
            flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
            descriptor = os.open(path, flags)
    try:
        yield descriptor if descriptor is not None and _private(descriptor) else None
    finally:
        if descriptor is not None:
            os.close(descriptor)


def _may_create(path: Path) -> bool:
    """Root does not put a folder into another user's home, whom it would be in the way of."""
    nearest = next(parent for parent in path.parents if parent.exists())
    return nearest.stat().st_uid == os.geteuid()


def _private(descriptor: int) -> bool:
    found = os.fstat(descriptor)
    return found.st_uid == os.geteuid() and not found.st_mode & _OTHERS


def _read(folder: int, name: str) -> bytes:
    """A file that nobody but root and this user can write. Raises OSError."""
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    with os.fdopen(os.open(name, flags, dir_fd=folder), "rb") as file:
        found = os.fstat(file.fileno())
        if found.st_uid not in (0, os.geteuid()) or found.st_mode & _OTHERS:
            raise PermissionError(name)
        return file.read(_LARGEST)


def _file_name(name: str, source: str) -> str:
    return f"{name}-{source[:32]}.bin"
