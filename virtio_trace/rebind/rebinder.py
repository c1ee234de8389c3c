# SPDX-License-Identifier: GPL-2.0-or-later
"""Takes a device of the VirtIO bus from its driver and gives it back, through sysfs.

Run as a program of its own: a recorder that is killed between the two must not leave the device
without its driver, so nobody's death and no Ctrl-C ends this half way.

    python3 -m virtio_trace.rebind.rebinder virtio0 virtio_net

Prints a line of JSON: ``unbind`` and ``bind``, each null or the errno of its write, and ``driver``,
the one that the device has afterwards. Where no DRIVER is named, the bus is asked to find one
(drivers_probe). Documentation/ABI/testing/sysfs-bus-pci; drivers/base/bus.c.
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


def start(name: str, driver: str | None) -> subprocess.Popen[bytes]:
    """Begins to rebind device NAME in another process. Raises CannotTraceError."""
    command = [sys.executable, "-m", __name__, name, driver or ""]
    try:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
    except OSError as error:
        raise CannotTraceError(f"cannot rebind {name}: {error.strerror}") from error


def rebind(name: str, driver: str | None, bus: Path = _BUS) -> dict[str, Any]:
    """Does it; each write that failed by its errno. Never raises."""
    found: dict[str, Any] = {"unbind": None, "bind": None, "driver": None}
    if driver:
        found["unbind"] = _write(bus / "drivers" / driver / "unbind", name)
    if found["unbind"] is None:
        where = bus / "drivers" / driver / "bind" if driver else bus / "drivers_probe"
        found["bind"] = _write(where, name)
    with contextlib.suppress(OSError):  # none has it
        found["driver"] = (bus / "devices" / name / "driver").readlink().name
    return found


def _write(path: Path, text: str) -> int | None:
    """One write(2): Python's own files try again what was refused."""
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
    """NAME and DRIVER are the program's arguments."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    line = json.dumps(rebind(sys.argv[1], sys.argv[2] or None)).encode()
    with contextlib.suppress(OSError):  # nobody is left to be told
        os.write(1, line)


if __name__ == "__main__":
    main()
