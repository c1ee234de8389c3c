# SPDX-License-Identifier: GPL-2.0-or-later
"""The relay between recorder and port: lines in, frames out, and nobody waits for the port."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from virtio_trace.tracer.executor import frames, relay
from virtio_trace.tracer.executor.frames import FrameEncoder
from virtio_trace.tracer.executor.relay import LineCutter
from virtio_trace.vm.qemu.frame_reader import FrameReader

COMMAND = (sys.executable, "-I", "-B", "-m", "virtio_trace.tracer.executor.relay")
LINE = b'{"seq":1,"ns":123456789,"comm":"sh","kind":"entry","probe":"virtio_dev_probe"}\n'


def read(data: bytes) -> tuple[bytes, int]:
    """What arrives, and how many lines are lost."""
    taken: list[bytes] = []
    reader = FrameReader(taken.append, lambda _line: None)
    reader.feed(data)
    reader.close()
    assert reader.damaged == 0
    return b"".join(taken), reader.lost


def test_a_recording_arrives_whole_and_much_smaller() -> None:
    golden = Path(__file__).resolve().parents[3] / "golden" / "debian-6.1-rebind.vtr"
    data = golden.read_bytes() * 20
    sent = subprocess.run(COMMAND, input=data, stdout=subprocess.PIPE, check=True).stdout
    assert read(sent) == (data, 0)
    assert len(sent) < len(data) / 5


def test_a_line_that_was_cut_is_lost_and_counted() -> None:
    data = LINE * 3 + b'{"seq":2'
    sent = subprocess.run(COMMAND, input=data, stdout=subprocess.PIPE, check=True).stdout
    assert read(sent) == (LINE * 3, 1)


def test_a_line_does_not_wait_for_others() -> None:
    """A guest may die: its last lines must be out by then, even while others keep coming."""
    with subprocess.Popen(
        COMMAND, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
    ) as child:
        assert child.stdin and child.stdout
        heard = threading.Event()
        out = child.stdout

        def listen() -> None:
            assert out.read(1)
            heard.set()

        threading.Thread(target=listen, daemon=True).start()
        deadline = time.monotonic() + 20
        while not heard.is_set() and time.monotonic() < deadline:
            child.stdin.write(LINE)  # 100 a second: they never fill a frame in that time
            time.sleep(0.01)
        assert heard.is_set()
        child.stdin.close()


def test_the_recorder_never_waits_for_the_port() -> None:
    """Nobody reads the port, and still 32 MB of lines are taken; then all arrive."""
    lines = b"".join(b'{"seq":%d,"ns":%d}\n' % (n, n * n) for n in range(1_000_000))
    with subprocess.Popen(COMMAND, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdin and child.stdout
        child.stdin.write(lines)
        child.stdin.close()
        assert read(child.stdout.read()) == (lines, 0)


def test_a_port_that_is_gone_ends_the_relay() -> None:
    """The recorder is told by its pipe, and the guest's script by the status."""
    here, there = os.pipe()
    os.close(here)
    done = subprocess.run(COMMAND, input=LINE, stdout=there, stderr=subprocess.PIPE, check=False)
    os.close(there)
    assert done.returncode == 1
    assert done.stderr == b"virtio-trace: the relay to the port: Broken pipe\n"


@pytest.mark.parametrize("size", [1, 3, 100, 1 << 16])
def test_lines_are_cut_at_their_ends_alone(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relay, "LARGEST", 2000)
    monkeypatch.setattr(frames, "LARGEST", 2000)
    long, short = b"x" * 3000 + b"\n", b"y\r" * 600 + b"\n"
    data = b"".join((LINE, long, LINE, short, long, long, b"z" * 1999 + b"\n", LINE, LINE))
    cutter = LineCutter(FrameEncoder(frames.LINES))
    sent = b"".join(cutter.feed(data[at : at + size]) for at in range(0, len(data), size))
    assert read(sent + cutter.close()) == (data.replace(long, b""), 3)


def test_it_starts_quickly() -> None:
    """A guest's next executor has nothing but a small Python: no other modules are imported."""
    program = (
        "import os; before = set(sys.modules);"
        "import virtio_trace.tracer.executor.relay;"
        "print(*sorted(set(sys.modules) - before))"
    )
    # -S: site may have imported some of them.
    path = str(Path(frames.__file__).parents[3])
    done = subprocess.run(
        (sys.executable, "-S", "-c", f"import sys; sys.path.append({path!r}); {program}"),
        capture_output=True, text=True, check=True, cwd="/",
    )  # fmt: skip
    ours = {name for name in done.stdout.split() if name.startswith("virtio_trace")}
    assert set(done.stdout.split()) - ours <= {
        "__future__", "_queue", "_struct", "select", "struct", "zlib",
    }  # fmt: skip
