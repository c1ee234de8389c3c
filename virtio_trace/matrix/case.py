# SPDX-License-Identifier: GPL-2.0-or-later
"""One case of a matrix, and how it turned out."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from virtio_trace.errors import BadInputError
from virtio_trace.matrix.settings import Settings, Source

OK, FAILED, ERROR = "ok", "failed", "error"
"""As expected; not as expected; it could not be told, as the guest died, or nothing was booted."""

SCHEMA = "virtio-trace/matrix-case/1"


@dataclass(frozen=True, slots=True)
class Case:
    """Boot number ``number``, from 1, of a kernel with a board."""

    kernel: str
    board: str
    number: int
    source: Source
    settings: Settings

    @property
    def name(self) -> str:
        """``KERNEL/BOARD/NUMBER``: the case's folder, too."""
        return f"{self.kernel}/{self.board}/{self.number}"

    @property
    def title(self) -> str:
        """The name without a number that says nothing."""
        return self.name if self.settings.boots > 1 else f"{self.kernel}/{self.board}"

    @property
    def fingerprint(self) -> str:
        """A hash of what is booted, how, and what is expected; on another machine, too."""
        told = asdict(self)
        told["source"] = {
            key: [Path(path).name for path in value] if key == "backing" else _base(value)
            for key, value in told["source"].items()
        }
        del told["settings"]["boots"]
        return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:16]

    def stamps(self) -> dict[str, list[int]]:
        """Size and time of each file that it is made of: whether one has changed since."""
        found = {}
        for path in self.source.files:
            stat = path.stat()
            found[str(path)] = [stat.st_size, stat.st_mtime_ns]
        return found


def _base(value: Any) -> str | None:
    return None if value is None else Path(value).name if isinstance(value, Path) else str(value)


@dataclass(slots=True)
class Attempt:
    """One boot of a case. ``end``: done, timeout or died, as vm.outcome has it; none: no guest was
    started. ``status``: boot's exit status. ``why``: what it said last. ``seconds``: in all."""

    end: str
    status: int
    seconds: float
    accel: str = ""
    why: str = ""
    stood: bool = False
    """The system did not come up."""


@dataclass(slots=True)
class CaseResult:
    """How a case turned out. ``status`` is OK, FAILED or ERROR, ``why`` says why. ``verdict`` is
    check's; None: there is no recording. ``attempts``: the last one counts. ``worker``: who ran it.
    """

    name: str
    status: str
    why: list[str]
    verdict: str | None
    attempts: list[Attempt]
    kernel_release: str = ""
    devices: int = 0
    worker: str = ""
    fingerprint: str = ""
    stamps: dict[str, list[int]] = field(default_factory=dict)

    @property
    def seconds(self) -> float:
        """What it took, all attempts together."""
        return sum(attempt.seconds for attempt in self.attempts)

    @property
    def retries(self) -> int:
        """Attempts before the last one: guests that died of emulation."""
        return max(len(self.attempts) - 1, 0)

    def to_json(self) -> dict[str, Any]:
        """As result.json has it."""
        return {"schema": SCHEMA, **asdict(self)}

    @classmethod
    def from_json(cls, raw: Any) -> CaseResult:
        """Raises BadInputError if RAW is not the JSON of a result."""
        try:
            if raw["schema"] != SCHEMA:
                raise BadInputError(f"is not {SCHEMA}")
            attempts = [Attempt(**attempt) for attempt in raw["attempts"]]
            rest = {key: value for key, value in raw.items() if key not in ("schema", "attempts")}
            found = cls(attempts=attempts, **rest)
            if found.status not in (OK, FAILED, ERROR) or not isinstance(found.why, list):
                raise BadInputError("its status is unknown")
            float(found.seconds)
        except (KeyError, TypeError, ValueError) as error:
            raise BadInputError("is not a result of matrix") from error
        return found
