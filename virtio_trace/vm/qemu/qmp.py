# SPDX-License-Identifier: GPL-2.0-or-later
"""QEMU's machine protocol over a socket that QEMU inherited: one command at a time.

JSON objects, one per line (docs/interop/qmp-spec.rst of QEMU): a greeting, qmp_capabilities, then
commands and their answers, with events in between. A socketpair leaves no file behind if we are
killed.
"""

from __future__ import annotations

import json
import socket
import time
from typing import Any

from virtio_trace.errors import CannotTraceError

_LONGEST = 16 << 20
"""Bytes of one answer."""


class MonitorClosedError(CannotTraceError):
    """QEMU closed its monitor: it has ended."""


class Monitor:
    """Our end of the monitor. Nothing is read before the first :meth:`command`."""

    def __init__(self, end: socket.socket) -> None:
        self._end = end
        self._rest = bytearray()
        self._deadline = 0.0
        self._greeted = False

    def patience(self, seconds: float) -> None:
        """From now on, all answers together may take SECONDS."""
        self._deadline = time.monotonic() + seconds

    def command(self, name: str, **arguments: Any) -> Any:
        """What QEMU returns: any JSON value.

        Raises CannotTraceError for an error or no answer, MonitorClosedError if QEMU ended.
        """
        if not self._greeted:
            self._greeted = True
            self._object()  # the greeting, sent when QEMU starts
            self._ask("qmp_capabilities", {})
        return self._ask(name, arguments)

    def close(self) -> None:
        """Closes our end. QEMU goes on without it."""
        self._end.close()

    def _ask(self, name: str, arguments: dict[str, Any]) -> Any:
        try:
            self._end.settimeout(self._left())
            self._end.sendall(json.dumps({"execute": name, "arguments": arguments}).encode())
        except (BrokenPipeError, ConnectionResetError) as error:
            raise MonitorClosedError("QEMU closed its monitor") from error
        except OSError as error:
            raise CannotTraceError(f"QEMU's monitor does not accept {name}: {error}") from error
        while True:
            if time.monotonic() > self._deadline:
                raise CannotTraceError(f"QEMU's monitor does not answer {name} in time")
            answer = self._object()
            if "error" in answer:
                raise CannotTraceError(f"QEMU: {name}: {_description(answer['error'])}")
            if "return" in answer:
                return answer["return"]

    def _object(self) -> dict[str, Any]:
        """The next line that QEMU sends; {} if it is not an object."""
        searched = 0
        while (end := self._rest.find(b"\n", searched)) < 0:
            searched = len(self._rest)
            if searched > _LONGEST:
                raise CannotTraceError(f"QEMU's answer has more than {_LONGEST >> 20} MiB")
            self._rest += self._receive()
        line = bytes(self._rest[:end])
        del self._rest[: end + 1]
        try:
            found = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise CannotTraceError("QEMU's monitor sent something other than JSON") from error
        return found if isinstance(found, dict) else {}

    def _receive(self) -> bytes:
        try:
            self._end.settimeout(self._left())
            data = self._end.recv(1 << 16)
        except ConnectionResetError:
            data = b""
        except OSError as error:
            raise CannotTraceError(f"QEMU's monitor does not answer: {error}") from error
        if not data:
            raise MonitorClosedError("QEMU closed its monitor")
        return data

    def _left(self) -> float:
        return max(self._deadline - time.monotonic(), 0.001)


def _description(error: Any) -> str:
    """The text of an error, which normally is an object with ``class`` and ``desc``."""
    text = error.get("desc") if isinstance(error, dict) else error
    return str(text)[:500]
