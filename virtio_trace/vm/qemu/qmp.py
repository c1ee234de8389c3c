# SPDX-License-Identifier: GPL-2.0-or-later
"""QEMU's machine protocol over a socket that QEMU inherited: questions, one at a time.

JSON objects, a line each (docs/interop/qmp-spec.rst of QEMU): a greeting, qmp_capabilities, then
commands and their answers, with events in between. A socket pair has no name: no death leaves it.
"""

from __future__ import annotations

import json
import socket
import time
from typing import Any

from virtio_trace.errors import CannotTraceError


class Monitor:
    """Our end of the monitor. Nothing is read before the first :meth:`command`."""

    def __init__(self, end: socket.socket) -> None:
        self._end = end
        self._rest = b""
        self._deadline = 0.0
        self._greeted = False

    def patience(self, seconds: float) -> None:
        """From now on, all answers together may take SECONDS."""
        self._deadline = time.monotonic() + seconds

    def command(self, name: str, **arguments: Any) -> Any:
        """What QEMU returns. Raises CannotTraceError where that is an error, or nothing comes."""
        if not self._greeted:
            self._greeted = True
            self._object()  # the greeting, which is there from QEMU's start
            self._ask("qmp_capabilities", {})
        return self._ask(name, arguments)

    def close(self) -> None:
        """Close our end; QEMU goes on without it."""
        self._end.close()

    def _ask(self, name: str, arguments: dict[str, Any]) -> Any:
        try:
            self._end.settimeout(self._left())
            self._end.sendall(json.dumps({"execute": name, "arguments": arguments}).encode())
        except OSError as error:
            raise CannotTraceError(f"QEMU's monitor takes no {name}: {error}") from error
        while True:
            answer = self._object()
            if "error" in answer:
                failed = answer["error"]
                said = failed.get("desc") if isinstance(failed, dict) else failed
                raise CannotTraceError(f"QEMU: {name}: {said}")
            if "return" in answer:
                return answer["return"]

    def _object(self) -> dict[str, Any]:
        """The next line that QEMU says."""
        while b"\n" not in self._rest:
            try:
                self._end.settimeout(self._left())
                data = self._end.recv(1 << 16)
            except OSError as error:
                raise CannotTraceError(f"QEMU's monitor does not answer: {error}") from error
            if not data:
                raise CannotTraceError("QEMU closed its monitor")
            self._rest += data
        line, _, self._rest = self._rest.partition(b"\n")
        try:
            found = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise CannotTraceError("QEMU's monitor said what is no JSON") from error
        return found if isinstance(found, dict) else {}

    def _left(self) -> float:
        return max(self._deadline - time.monotonic(), 0.001)
