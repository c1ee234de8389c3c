# SPDX-License-Identifier: GPL-2.0-or-later
"""The verdict at the end of ``record`` on what was asked for: --device, --driver, --rebind.

Most recordings ask for nothing, and none for the rules before its end. What only these need is
imported where it is used: in an emulated guest it takes a fifth of a second, before all is armed.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import BinaryIO, cast

from virtio_trace.cli.support.output import RecordingOutput
from virtio_trace.kernel.running.host import HostKernel, snapshot
from virtio_trace.recording.events import Event
from virtio_trace.recording.evidence import Evidence
from virtio_trace.recording.header import Header
from virtio_trace.recording.source import Source


class Judged:
    """DEVICES and DRIVERS, which may be empty. LIMITS: only their events are shown."""

    def __init__(self, devices: Collection[str], drivers: Collection[str], limits: bool) -> None:
        self._devices, self._drivers, self._limits = devices, drivers, limits
        self._addresses: Collection[str] = ()
        self._copy: BinaryIO | None = None
        self.shows: Callable[[Event], bool] | None = None

    def __bool__(self) -> bool:
        return bool(self._devices or self._drivers)

    def check(self, kernel: HostKernel) -> None:
        """Raises UsageError if a device is not on the bus now."""
        if not self._devices:
            return
        from virtio_trace.check import named  # noqa: PLC0415

        names = named.Names(Evidence(kernel.release), snapshot(kernel.sys))
        names.check(self._devices)
        self._addresses = [known.address for name in self._devices for known in names.of(name)]

    def begin(self, header: Header) -> None:
        """The probes are armed. Raises UsageError for a driver that this kernel does not have."""
        if not self:
            return
        from virtio_trace.check import named  # noqa: PLC0415
        from virtio_trace.check.scope import LiveFilter  # noqa: PLC0415

        names = named.Names(header.evidence, header.snapshot)
        names.drivers |= {driver.name for driver in header.evidence.drivers}
        names.check((), self._drivers)
        if self._limits:
            scope = names.scope(self._addresses, self._drivers)
            self.shows = LiveFilter(scope, () if self._devices else self._drivers).shows

    def copied(self, target: RecordingOutput) -> BinaryIO:
        """The stream of TARGET. What cannot be read again is copied to a temporary file."""
        stream = target.open()
        if not self or target.is_regular:
            return stream
        import tempfile  # noqa: PLC0415

        self._copy = cast(BinaryIO, tempfile.TemporaryFile())  # noqa: SIM115 - kept
        return cast(BinaryIO, _Tee(stream, self._copy))

    def status(self, target: RecordingOutput) -> int:
        """Print the verdict on the recording in TARGET; return its exit status."""
        from virtio_trace.recording.recording_file import RecordingFile  # noqa: PLC0415

        if self._copy is not None:
            self._copy.seek(0)
            return self._judge(RecordingFile(self._copy, target.name))
        with open(target.name, "rb") as stream:  # noqa: PTH123 - it may be a descriptor's path
            return self._judge(RecordingFile(stream, target.name))

    def _judge(self, recording: Source) -> int:
        from virtio_trace.check import named  # noqa: PLC0415
        from virtio_trace.cli.support.live_verdict import say_verdict  # noqa: PLC0415

        names = named.names(recording)
        if self._devices and not self._drivers:
            scope = names.scope_of([names.devices[address] for address in self._addresses])
        else:
            names.drivers |= {*self._drivers}
            scope = names.scope(self._addresses, self._drivers)
        return say_verdict(recording, scope)


class _Tee:
    """Writes to both STREAM and COPY."""

    def __init__(self, stream: BinaryIO, copy: BinaryIO) -> None:
        self._stream = stream
        self._copy = copy

    def write(self, data: bytes) -> int:
        """Write DATA to both."""
        self._copy.write(data)
        return self._stream.write(data)

    def flush(self) -> None:
        """Flush the stream."""
        self._stream.flush()
