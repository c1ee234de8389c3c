# SPDX-License-Identifier: GPL-2.0-or-later
"""Tells whoever started us that the probes are armed: a newline on a descriptor, or systemd."""

from __future__ import annotations

import fcntl
import os
import socket

from virtio_trace.cli.support.say import warn
from virtio_trace.errors import UsageError

_NOTIFY_SOCKET = "NOTIFY_SOCKET"


class Ready:
    """``--ready-fd N`` and sd_notify(3).

    Raises UsageError if DESCRIPTOR is not open for writing. NOTIFY_SOCKET leaves the environment:
    COMMAND is not the service's main process.
    """

    def __init__(self, descriptor: int | None) -> None:
        self._descriptor = descriptor
        self._socket = os.environ.pop(_NOTIFY_SOCKET, "")
        if descriptor is not None and not _is_writable(descriptor):
            raise UsageError(
                f"--ready-fd {descriptor}: no such descriptor is open for writing",
                f"open it in the shell, with {descriptor}>FILE; sudo closes those from 3 on",
            )

    def armed(self, status: str) -> None:
        """Everything is armed, and the recording begun; STATUS is a line for systemctl."""
        if self._descriptor is not None:
            try:
                os.write(self._descriptor, b"\n")
                if self._descriptor > 2:
                    os.close(self._descriptor)  # a reader that waits for its end has it
            except OSError as error:
                warn(f"--ready-fd {self._descriptor}: {error.strerror}")
            self._descriptor = None
        self._notify(f"READY=1\nSTATUS={status}\n")

    def stopping(self) -> None:
        """The recording has ended."""
        self._notify("STOPPING=1\n")

    def _notify(self, state: str) -> None:
        if not self._socket:
            return
        path = self._socket
        address: str | bytes = path
        if path.startswith("@"):  # an abstract socket (unix(7)): Python takes it as bytes
            address = b"\0" + os.fsencode(path[1:])
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
                sender.connect(address)
                sender.sendall(state.encode())
        except OSError as error:
            warn(f"{_NOTIFY_SOCKET}={path}: {error.strerror or error}")


def _is_writable(descriptor: int) -> bool:
    try:
        return fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_ACCMODE in (os.O_WRONLY, os.O_RDWR)
    except OSError:
        return False
