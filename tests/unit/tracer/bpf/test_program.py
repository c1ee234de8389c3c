# SPDX-License-Identifier: GPL-2.0-or-later
"""The BPF programs at work, on functions of a C library; tests/vm runs them on the kernel's."""

from __future__ import annotations

import ctypes as ct
import platform
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.unit.tracer.bpf import uprobes
from tests.unit.tracer.bpf.uprobes import Uprobes
from virtio_trace.tracer.bpf import wire
from virtio_trace.tracer.bpf.compile import compile_now
from virtio_trace.tracer.points.table import CORE_POINTS, NEGOTIATION_POINTS

pytestmark = pytest.mark.skipif(not uprobes.usable(), reason="needs root and uprobes")

POINTS = {point.name: point for point in reversed((*CORE_POINTS, *NEGOTIATION_POINTS))}

SOURCE = """
#include <sys/prctl.h>
#define PROBED __attribute__((noinline, noclone))
PROBED int feature(void *device, void *array) { asm volatile(""); return 0x55; }
PROBED int inner(void *device, long status) { asm volatile(""); return 7; }
PROBED int outer(void *device)
{
	int found = inner(device, 3);

	found += feature(device, device);
	asm volatile("");
	return found + inner(device, 4);
}
PROBED int again(void *device, int depth)
{
	int found = depth ? again(device, depth - 1) : 0;

	asm volatile("");
	return found + 1;
}
void rename(char *name) { prctl(PR_SET_NAME, name, 0, 0, 0); }
"""
DEVICE = 0x1234


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("library")
    (folder / "library.c").write_text(SOURCE)
    made = folder / "library.so"
    flags = ("-O1", "-fno-optimize-sibling-calls", "-shared", "-fPIC")
    subprocess.run(["gcc", *flags, "-o", made, folder / "library.c"], check=True)
    return made


@pytest.fixture(params=[True, False], ids=["cookie", "constant"])
def armed(request: pytest.FixtureRequest, path: Path) -> Iterator[Uprobes]:
    code = compile_now(platform.machine(), cookie=request.param)
    probes = Uprobes(code, path, list(POINTS.values()))
    yield probes
    probes.close()


@pytest.fixture
def library(path: Path) -> Any:
    found = ct.CDLL(str(path))
    for name in ("feature", "inner", "outer", "again"):
        getattr(found, name).argtypes = (ct.c_void_p, ct.c_void_p)
    return found


def has(record: bytes) -> int:
    return int(wire.WireEvent.from_buffer_copy(record).has)


def test_a_comm_is_sent_with_the_outermost_call_alone(armed: Uprobes, library: Any) -> None:
    armed.attach("outer", POINTS["virtio_features_ok"])
    armed.attach("inner", POINTS["set_status"])
    for name in (b"one", b"two"):
        library.rename(name)
        library.outer(DEVICE, 0)
        library.inner(DEVICE, 1)  # not inside another call, and it opens none
    records = [record for record in armed.records() if record[0] != wire.KIND_KNOWN_DEVICE]
    seen = [bool(has(record) & wire.HAS_COMM) for record in records]
    assert seen == [True, False, False, False, True] * 2


def test_each_event_has_the_comm_of_its_time(armed: Uprobes, library: Any) -> None:
    armed.attach("outer", POINTS["virtio_dev_remove"])
    armed.attach("inner", POINTS["set_status"])
    armed.attach("feature", POINTS["get_features"])
    for name in (b"one", b"two"):
        library.rename(name)
        library.outer(DEVICE, 0)
        library.feature(DEVICE, 0)
    library.rename(b"three")
    library.inner(DEVICE, 2)
    events = armed.events()
    assert [event.comm for event in events] == ["one"] * 6 + ["two"] * 6 + ["three"]
    statuses = [event.detail.status for event in events if event.probe == "set_status"]  # type: ignore[union-attr]
    assert statuses == [3, 4, 3, 4, 2]
    features = [event for event in events if event.probe == "get_features"]
    assert [event.detail.features for event in features] == ["0x55"] * 4  # type: ignore[union-attr]
    assert all(event.duration_ns for event in features)
    assert [event.seq for event in events] == list(range(1, 14))


def test_threads_have_their_own_comm_and_calls(armed: Uprobes, library: Any) -> None:
    armed.attach("outer", POINTS["virtio_features_ok"])
    armed.attach("feature", POINTS["get_features"])

    def work(name: bytes) -> None:
        library.rename(name)
        for _ in range(50):
            library.outer(DEVICE, 0)

    threads = [threading.Thread(target=work, args=(b"worker %d" % n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    events = armed.events()
    assert len(events) == 4 * 50 * 3
    by_thread: dict[int, set[str]] = {}
    for event in events:
        by_thread.setdefault(event.tid, set()).add(event.comm)
        assert event.kind == "entry" or event.duration_ns
    assert sorted(by_thread.values(), key=str) == [{f"worker {n}"} for n in range(4)]


def test_a_kept_call_in_itself_is_known_as_deep_as_there_is_room(
    armed: Uprobes, library: Any
) -> None:
    armed.attach("again", POINTS["get_features"])
    for depth in (1, 4):  # VT_MAX_DEPTH
        library.again(DEVICE, depth - 1)
        events = armed.events()
        assert len(events) == depth
        assert all(event.duration_ns for event in events)
    library.again(DEVICE, 5)
    events = armed.events()
    assert len(events) == 6
    # Each call without a place took that of the outermost, so its own return may be unknown.
    assert sum(event.duration_ns is None for event in events) == 2
    library.again(DEVICE, 3)
    assert all(event.duration_ns for event in armed.events())


def test_what_has_no_room_is_counted(armed: Uprobes, library: Any) -> None:
    """Nobody reads the ring meanwhile."""
    armed.attach("inner", POINTS["virtio_features_ok"])
    calls = 8000
    for _ in range(calls):
        library.inner(DEVICE, 0)
    events = armed.events()
    assert 4000 < len(events) < 2 * calls
    assert len(events) + armed.lost() == 2 * calls
