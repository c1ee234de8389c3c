# SPDX-License-Identifier: GPL-2.0-or-later
"""A cache of files that root may trust: nobody but root and this user can have written them.

What is in it decides what runs in the kernel. A file that cannot be read, or that others may write,
is as good as none.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
from collections.abc import Iterator
from pathlib import Path

_OTHERS = stat.S_IWGRP | stat.S_IWOTH
_LARGEST = 4 << 20
"""Bytes of a file; bytecode has 40 thousand."""


def read(kind: str, name: str) -> bytes | None:
    """The file NAME of the cache's folder KIND; None: there is none that can be trusted."""
    with _folder(kind, create=False) as folder:
        if folder is None:
            return None
        try:
            return _read(folder, name)
        except OSError:
            return None


def keep(kind: str, name: str, data: bytes) -> None:
    """Put DATA into the cache, if there can be one. Others may do the same at the same time."""
    with _folder(kind, create=True) as folder, contextlib.suppress(OSError):
        if folder is None:
            return
        fresh = f".{os.getpid()}.{secrets.token_hex(8)}"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        try:
            with os.fdopen(os.open(fresh, flags, 0o600, dir_fd=folder), "wb") as file:
                file.write(data)
            os.rename(fresh, name, src_dir_fd=folder, dst_dir_fd=folder)
        except OSError:
            with contextlib.suppress(OSError):
                os.unlink(fresh, dir_fd=folder)


def path_of(kind: str) -> Path | None:
    """``$XDG_CACHE_HOME/virtio-trace/KIND``; None if this user has no home."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    # XDG Base Directory Specification: a relative path must be ignored.
    if not base.startswith("/"):
        try:
            base = str(Path.home() / ".cache")
        except RuntimeError:  # no HOME, and no such user in the password database
            return None
    return Path(base) / "virtio-trace" / kind


@contextlib.contextmanager
def _folder(kind: str, *, create: bool) -> Iterator[int | None]:
    """A descriptor of the cache's folder; None if it is missing, or others may write to it."""
    path = path_of(kind)
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
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    with os.fdopen(os.open(name, flags, dir_fd=folder), "rb") as file:
        found = os.fstat(file.fileno())
        if found.st_uid not in (0, os.geteuid()) or found.st_mode & _OTHERS:
            raise PermissionError(name)
        return file.read(_LARGEST)
