# SPDX-License-Identifier: GPL-2.0-or-later
"""The folder in which what was fetched and built is kept: $XDG_CACHE_HOME/virtio-trace."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from virtio_trace.errors import CannotTraceError


def root() -> Path:
    """The cache's folder, made if it is not there. Raises CannotTraceError where it cannot be."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    # The XDG specification: a relative path there is to be ignored.
    if base.startswith("/"):
        return folder(Path(base) / "virtio-trace")
    try:
        return folder(Path.home() / ".cache" / "virtio-trace")
    except RuntimeError as error:  # no HOME, and a user whom the system does not know
        raise CannotTraceError(
            "there is no folder for the cache: this user has no home",
            "set XDG_CACHE_HOME to a folder that you may write to, with 2 GB free",
        ) from error


def folder(path: Path) -> Path:
    """PATH as a folder. Raises CannotTraceError where it cannot be made."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise cannot("cannot make the cache's folder", path, error) from error
    return path


def cannot(what: str, path: Path, error: OSError) -> CannotTraceError:
    """An OSError about the cache, in our words."""
    return CannotTraceError(
        f"{what}: {path}: {error.strerror or error}",
        "set XDG_CACHE_HOME to a folder that you may write to, with 2 GB free",
    )


@contextlib.contextmanager
def lock(name: str) -> Iterator[None]:
    """Holds the lock NAME of this cache, waiting for whoever has it; a death gives it back."""
    path = root() / f"{name}.lock"
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise cannot("cannot lock the cache", path, error) from error
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


@contextlib.contextmanager
def scratch(prefix: str) -> Iterator[Path]:
    """A folder that is gone at the end, whatever the end is. On the cache's file system."""
    try:
        path = Path(tempfile.mkdtemp(prefix=f"tmp-{prefix}-", dir=root()))
    except OSError as error:
        raise cannot("cannot make a temporary folder", root(), error) from error
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)  # says to sweep() that its owner lives
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)
        os.close(handle)


@contextlib.contextmanager
def reaped(path: Path) -> Iterator[None]:
    """While the body runs, a child stands by to remove folder PATH should this process be killed.

    Raises CannotTraceError where there is no shell.
    """
    # It reads the end of a pipe that we alone hold; a terminal's signals are for us.
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
    """Removes what was left by runs that were killed: temporary folders that nobody holds."""
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


def read_json(path: Path) -> Any:
    """What a JSON file of the cache holds; None where it is missing or damaged."""
    try:
        return json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return None


def write_json(path: Path, value: Any) -> None:
    """Replaces a JSON file of the cache at once. Raises CannotTraceError."""
    fresh = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh.write_text(json.dumps(value, indent=1) + "\n", "utf-8")
        fresh.replace(path)
    except OSError as error:
        raise cannot("cannot write to the cache", path, error) from error
