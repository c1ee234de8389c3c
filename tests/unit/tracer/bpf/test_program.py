# SPDX-License-Identifier: GPL-2.0-or-later
"""The BPF programs at work, on functions of a C library; tests/vm runs them on the kernel's."""

from __future__ import annotations

import ctypes as ct
import platform
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

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
PROBED int feature(void *device, long array) { asm volatile(""); return 0x55; }
PROBED int inner(void *device, long status) { asm volatile(""); return 7; }
PROBED int outer(void *device, long unused)
{
	int found = inner(device, 3);

	found += feature(device, 0);
	asm volatile("");
	return found + inner(device, 4);
}
PROBED int again(void *device, long depth)
{
	int found = depth ? again(device, depth - 1) : 0;

	asm volatile("");
	return found + 1;
}
/* Calls a function in the middle of 16 KiB that are aligned, as a kernel's stack is. */
int call(int (*function)(void *, long), void *device, long number)
{
	char here, *room = __builtin_alloca(((unsigned long)&here & 16383) + 8192);

	asm volatile("" : : "r"(room) : "memory");
	return function(device, number);
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


class Library:
    """The functions of SOURCE, called with DEVICE and a number."""

    def __init__(self, path: Path) -> None:
        self._c = ct.CDLL(str(path))

    def rename(self, name: bytes) -> None:
        """Sets this thread's comm."""
        self._c.rename(name)

    def call(self, function: str, number: int = 0) -> None:
        self._c.call(self._c[function], ct.c_void_p(DEVICE), ct.c_long(number))


@pytest.fixture
def library(path: Path) -> Library:
    return Library(path)


def has(record: bytes) -> int:
    return int(wire.WireEvent.from_buffer_copy(record).has)


def test_a_comm_is_sent_with_the_outermost_call_alone(armed: Uprobes, library: Library) -> None:
    armed.attach("outer", POINTS["virtio_features_ok"])
    armed.attach("inner", POINTS["set_status"])
    for name in (b"one", b"two"):
        library.rename(name)
        library.call("outer")
        library.call("inner", 1)  # not inside another call, and it opens none
    records = [record for record in armed.records() if record[0] != wire.KIND_KNOWN_DEVICE]
    seen = [bool(has(record) & wire.HAS_COMM) for record in records]
    assert seen == [True, False, False, False, True] * 2


def test_each_event_has_the_comm_of_its_time(armed: Uprobes, library: Library) -> None:
    armed.attach("outer", POINTS["virtio_dev_remove"])
    armed.attach("inner", POINTS["set_status"])
    armed.attach("feature", POINTS["get_features"])
    for name in (b"one", b"two"):
        library.rename(name)
        library.call("outer")
        library.call("feature")
    library.rename(b"three")
    library.call("inner", 2)
    events = armed.events()
    assert [event.comm for event in events] == ["one"] * 6 + ["two"] * 6 + ["three"]
    statuses = [event.detail.status for event in events if event.probe == "set_status"]  # type: ignore[union-attr]
    assert statuses == [3, 4, 3, 4, 2]
    features = [event for event in events if event.probe == "get_features"]
    assert [event.detail.features for event in features] == ["0x55"] * 4  # type: ignore[union-attr]
    assert all(event.duration_ns for event in features)
    assert [event.seq for event in events] == list(range(1, 14))


def test_threads_have_their_own_comm_and_calls(armed: Uprobes, library: Library) -> None:
    armed.attach("outer", POINTS["virtio_features_ok"])
    armed.attach("feature", POINTS["get_features"])

    def work(name: bytes) -> None:
        library.rename(name)
        for _ in range(50):
            library.call("outer")

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
    armed: Uprobes, library: Library
) -> None:
    armed.attach("again", POINTS["get_features"])
    for depth in (1, 4):  # VT_MAX_DEPTH
        library.call("again", depth - 1)
        events = armed.events()
        assert len(events) == depth
        assert all(event.duration_ns for event in events)
    library.call("again", 5)
    events = armed.events()
    assert len(events) == 6
    # Each call without a place took that of the outermost, so its own return may be unknown.
    assert sum(event.duration_ns is None for event in events) == 2
    library.call("again", 3)
    assert all(event.duration_ns for event in armed.events())


def test_what_has_no_room_is_counted(armed: Uprobes, library: Library) -> None:
    """Nobody reads the ring meanwhile."""
    armed.attach("inner", POINTS["virtio_features_ok"])
    calls = 8000
    for _ in range(calls):
        library.call("inner")
    events = armed.events()
    assert 4000 < len(events) < 2 * calls
    assert len(events) + armed.lost() == 2 * calls
