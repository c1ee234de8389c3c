# SPDX-License-Identifier: GPL-2.0-or-later
"""Unbinds a device of the VirtIO bus from its driver and binds it again, through sysfs.

It runs as a program of its own: a recorder that is killed in between must not leave the device
without its driver, so neither our death nor Ctrl-C stops it half way. It prints a line of JSON:
``unbind`` and ``bind``, each null or the errno of its write, and ``driver``, the device's driver
afterwards. Without a driver's name the bus looks for one (drivers_probe).
Documentation/ABI/testing/sysfs-bus-pci; drivers/base/bus.c.

Root runs it. So it starts isolated (-I) in /: nothing in the current directory, in the environment
or in a user's site-packages is imported.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from virtio_trace.errors import CannotTraceError

_BUS = Path("/sys/bus/virtio")
_LIBRARY = str(Path(__file__).resolve().parents[2])
"""Where the package virtio_trace is. It comes last on the path, after the standard library."""

_START = """
import sys
sys.path.append(sys.argv.pop(1))
from virtio_trace.rebind.rebinder import main
main()
"""


def start(name: str, driver: str | None) -> subprocess.Popen[bytes]:
    """Starts to rebind device NAME in another process. Raises CannotTraceError."""
    command = [sys.executable, "-I", "-B", "-c", _START, _LIBRARY, name, driver or ""]
    try:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            cwd="/",
        )
    except OSError as error:
        raise CannotTraceError(f"cannot rebind {name}: {error.strerror}") from error


def rebind(name: str, driver: str | None, bus: Path = _BUS) -> dict[str, Any]:
    """Rebinds the device. Returns what main() prints. Never raises."""
    found: dict[str, Any] = {"unbind": None, "bind": None, "driver": None}
    if driver:
        found["unbind"] = _write(bus / "drivers" / driver / "unbind", name)
    if found["unbind"] is None:
        where = bus / "drivers" / driver / "bind" if driver else bus / "drivers_probe"
        found["bind"] = _write(where, name)
    with contextlib.suppress(OSError):  # it has no driver
        found["driver"] = (bus / "devices" / name / "driver").readlink().name
    return found


def _write(path: Path, text: str) -> int | None:
    """One write(2), as Python's files would retry. Returns the errno, or None."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(descriptor, text.encode())
        finally:
            os.close(descriptor)
    except OSError as error:
        return error.errno or 0
    return None


def main() -> None:
    """Rebinds the device that the arguments NAME and DRIVER name."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    line = json.dumps(rebind(sys.argv[1], sys.argv[2] or None)).encode()
    with contextlib.suppress(OSError):  # the recorder is gone
        os.write(1, line)


if __name__ == "__main__":
    main()
