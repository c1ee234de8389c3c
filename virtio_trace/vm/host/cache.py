# SPDX-License-Identifier: GPL-2.0-or-later
"""The cache of everything fetched and built: $XDG_CACHE_HOME/virtio-trace."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from virtio_trace.errors import CannotTraceError


def root() -> Path:
    """The cache's folder, created if missing. Raises CannotTraceError."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    # XDG Base Directory Specification: a relative path must be ignored.
    if base.startswith("/"):
        return folder(Path(base) / "virtio-trace")
    try:
        return folder(Path.home() / ".cache" / "virtio-trace")
    except RuntimeError as error:  # no HOME, and no such user in the password database
        raise CannotTraceError(
            "there is no folder for the cache: this user has no home",
            "set XDG_CACHE_HOME to a folder that you may write to, with 2 GB free",
        ) from error


def folder(path: Path) -> Path:
    """PATH, created as a folder if missing. Raises CannotTraceError."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise cannot("cannot create the cache's folder", path, error) from error
    return path


def cannot(what: str, path: Path, error: OSError) -> CannotTraceError:
    """Turns an OSError about the cache into our error."""
    return CannotTraceError(
        f"{what}: {path}: {error.strerror or error}",
        "set XDG_CACHE_HOME to a folder that you may write to, with 2 GB free",
    )


@contextlib.contextmanager
def lock(
    name: str, progress: Callable[[str, float | None], None] = lambda _what, _done: None
) -> Iterator[None]:
    """Holds the lock NAME of this cache. It is released if we die. PROGRESS (programs.Progress) is
    told if another process has it, which is waited for."""
    path = root() / f"{name}.lock"
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise cannot("cannot lock the cache", path, error) from error
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            what = "waiting for another virtio-trace, which fills the cache"
            progress(what, None)
            fcntl.flock(handle, fcntl.LOCK_EX)
            progress(what, 1.0)
        yield
    finally:
        os.close(handle)


@contextlib.contextmanager
def scratch(prefix: str) -> Iterator[Path]:
    """A temporary folder on the cache's file system, removed however the block is left."""
    try:
        path = Path(tempfile.mkdtemp(prefix=f"tmp-{prefix}-", dir=root()))
    except OSError as error:
        raise cannot("cannot create a temporary folder", root(), error) from error
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)  # tells sweep() that its owner is alive
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)
        os.close(handle)


@contextlib.contextmanager
def reaped(path: Path) -> Iterator[None]:
    """Runs a child that removes folder PATH if this process is killed while the body runs.

    Raises CannotTraceError if there is no shell.
    """
    # It waits for the end of a pipe that only we hold open. Signals of a terminal are for us alone.
    script = 'trap "" INT TERM HUP; read -r _; exec rm -rf -- "$1"'
    try:
        child = subprocess.Popen(
            ["sh", "-c", script, "sh", str(path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
    except OSError as error:
        raise CannotTraceError(f"cannot start sh: {error.strerror}") from error
    try:
        yield
    finally:
        assert child.stdin is not None
        child.stdin.close()
        child.wait()


def sweep() -> None:
    """Removes temporary folders that killed runs left: those that nobody holds a lock on."""
    for path in root().glob("tmp-*"):
        try:
            handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            continue  # its owner has just removed it
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            continue
        else:
            shutil.rmtree(path, ignore_errors=True)
        finally:
            os.close(handle)


def use(path: Path, others: str, seconds: float) -> None:
    """Marks the file PATH of the cache as used, and removes each other file that the pattern OTHERS
    matches and that was not used for SECONDS. Raises CannotTraceError.

    A process that has a removed file open can go on.
    """
    try:
        path.touch()
    except OSError as error:
        raise cannot("cannot use the cache", path, error) from error
    for other in root().glob(others):
        try:
            if other != path and time.time() - other.stat().st_mtime > seconds:
                other.unlink()
        except OSError:
            continue  # another process removed it


def read_json(path: Path) -> Any:
    """The content of a JSON file of the cache; None if it is missing or damaged."""
    try:
        return json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        return None


def write_json(path: Path, value: Any) -> None:
    """Replaces a JSON file of the cache atomically. Raises CannotTraceError."""
    fresh = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh.write_text(json.dumps(value, indent=1) + "\n", "utf-8")
        fresh.replace(path)
    except OSError as error:
        raise cannot("cannot write to the cache", path, error) from error
