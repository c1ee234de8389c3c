# SPDX-License-Identifier: GPL-2.0-or-later
"""sysfs as text, rebuilt as a folder and read like sysfs."""

from __future__ import annotations

import tempfile
from pathlib import Path

from tests.fuzz import mutations
from tests.fuzz.accepted import accepted, through_json
from virtio_trace.kernel.running import sysfs_text
from virtio_trace.kernel.running.blacklist import forbidden
from virtio_trace.kernel.running.end_state import read_end_state
from virtio_trace.kernel.running.host import snapshot
from virtio_trace.recording.bus_state import BusState
from virtio_trace.recording.evidence import Evidence
from virtio_trace.recording.machine_state import EndState

MUTATE = mutations.lines
WORDS = (
    b"==> /sys/", b" <==\n", b"' -> '", b"'/sys/bus/virtio/devices/virtio0' -> '",
    b"/sys/bus/virtio",
    b"/sys/bus/pci/devices/0000:00:02.0", b"config /sys/", b"deferred ", b"../", b"/../", b"//",
    b"/sys/firmware/acpi/tables/VIOT", b"/driver_override", b"supplier:pci:", b"/proc/cmdline",
    b"/sys/module/virtio_net/initstate", b"x" * 300,
)  # fmt: skip


def one(data: bytes) -> None:
    lines = data.decode("utf-8", "backslashreplace").split("\n")
    evidence = Evidence("6.1", builtin=("virtio", "virtio_net"))
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "inner"
        root.mkdir()
        sysfs_text.rebuild(lines, root)
        bus = snapshot(root / "sys")
        forbidden(evidence, root)
        end = read_end_state({"virtio_net"}, root / "sys", root / sysfs_text.DEBUGFS)
        assert [path.name for path in Path(folder).iterdir()] == ["inner"]
    # It goes into a recording, which must be readable.
    with accepted():
        BusState.from_json(through_json(bus.to_json()))
        EndState.from_json(through_json(end.to_json()))
