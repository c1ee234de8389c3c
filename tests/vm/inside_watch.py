# SPDX-License-Identifier: GPL-2.0-or-later
"""Runs inside a guest, as its --run: what a person or a service sees of a recorder.

It is sent with traces.py and inside_recorders.py, and imports only the standard library. Prints one
JSON object: the outcome of each scenario by its name.
"""

from __future__ import annotations

import fcntl
import json
import os
import pty
import signal
import socket
import struct
import subprocess
import termios
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.vm.inside_recorders import ASK, OUT, RECORD, start, summary
from tests.vm.traces import PATIENCE, left, wait_for

# A stranger, a match that says no, and a driver that comes.
HAPPENS = f"modprobe loop; {ASK}; modprobe virtio_rng; modprobe -r virtio_rng loop"


def on_a_terminal(columns: int, *arguments: str) -> dict[str, Any]:
    """What a terminal of COLUMNS gets, and the status."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.environ["TERM"] = "xterm"
        os.execv(RECORD[0], [*RECORD, *arguments])
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("4H", 40, columns, 0, 0))
    text = b""
    while True:
        try:
            text += os.read(terminal, 1 << 16)
        except OSError:  # its other end is closed
            break
    _, status = os.waitpid(pid, 0)
    return {"status": os.waitstatus_to_exitcode(status), "text": text.decode(), "left": left()}


def watched(columns: int) -> dict[str, Any]:
    return on_a_terminal(columns, "-o", str(OUT), "--", "sh", "-c", HAPPENS)


def plainly(*options: str) -> dict[str, Any]:
    """The same, and no terminal."""
    recorder = start("-o", str(OUT), *options, "--", "sh", "-c", HAPPENS)
    _, said = recorder.communicate(timeout=PATIENCE)
    loads = sum('"kind": "module"' in line or '"kind":"module"' in line for line in _lines())
    return {"status": recorder.returncode, "said": said.decode().splitlines(), "loads": loads}


def _lines() -> list[str]:
    return OUT.read_text("utf-8").splitlines()


def ready_fd() -> dict[str, Any]:
    """The newline comes when it is armed, and then the end of the pipe. Then Ctrl-C."""
    reader, writer = os.pipe()
    recorder = start("-q", "-o", str(OUT), "--ready-fd", str(writer), pass_fds=[writer])
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        got = pipe.read().decode()
    header = json.loads(_lines()[0])
    os.system(ASK)
    wait_for(lambda: len(_lines()) > 2)
    return {"got": got, "armed": len(header["probes"]), **interrupted(recorder)}


def interrupted(recorder: subprocess.Popen[bytes]) -> dict[str, Any]:
    """Ends it by Ctrl-C: when it next spoke, and when it had ended, in seconds after that."""
    heard: list[tuple[float, str]] = []

    def listen() -> None:
        assert recorder.stderr is not None
        heard.extend((time.monotonic(), line.decode().rstrip("\n")) for line in recorder.stderr)

    thread = threading.Thread(target=listen)
    thread.start()
    time.sleep(0.3)
    before, pressed = len(heard), time.monotonic()
    recorder.send_signal(signal.SIGINT)
    status = recorder.wait(PATIENCE)
    ended = time.monotonic()
    thread.join()
    return {
        "status": status,
        "said": [line for _, line in heard],
        "spoke": round((heard[before:] or [(ended, "")])[0][0] - pressed, 2),
        "ended": round(ended - pressed, 2),
        "recording": summary(OUT),
        "left": left(),
    }


def notified(address: str) -> dict[str, Any]:
    """As a service of systemd with Type=notify. COMMAND must not know the socket."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
        server.bind(address.replace("@", "\0", 1))
        recorder = start(
            *("-q", "-o", str(OUT), "--", "sh", "-c", 'echo "[$NOTIFY_SOCKET]" >/run/known'),
            env={**os.environ, "NOTIFY_SOCKET": address},
        )
        got = [server.recv(4096).decode() for _ in range(2)]
        _, said = recorder.communicate(timeout=PATIENCE)
    return {
        "got": got,
        "status": recorder.returncode,
        "said": said.decode().splitlines(),
        "known": Path("/run/known").read_text("utf-8").strip(),
    }


def ends(*arguments: str) -> dict[str, Any]:
    recorder = start("-q", "-o", str(OUT), *arguments)
    _, said = recorder.communicate(timeout=PATIENCE)
    return {
        "status": recorder.returncode,
        "said": said.decode().splitlines(),
        "recording": summary(OUT),
    }


def ctrl_c_with_command() -> dict[str, Any]:
    """A terminal sends it to both."""
    recorder = start("-q", "-o", str(OUT), "--", "sleep", "1000", start_new_session=True)
    wait_for(lambda: b"sleep\x001000\0" in _children(recorder.pid))
    os.killpg(recorder.pid, signal.SIGINT)
    _, said = recorder.communicate(timeout=PATIENCE)
    return {
        "status": recorder.returncode,
        "said": said.decode().splitlines(),
        "recording": summary(OUT),
    }


def _children(pid: int) -> list[bytes]:
    found = []
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text("ascii").split():
        try:
            found.append(Path(f"/proc/{child}/cmdline").read_bytes())
        except OSError:  # it has ended
            continue
    return found


SCENARIOS: dict[str, Callable[[], Any]] = {
    "100 columns": lambda: watched(100),
    "80 columns": lambda: watched(80),
    "plain": plainly,
    "verbose": lambda: plainly("-v"),
    "ready": ready_fd,
    "not open": lambda: ends("--ready-fd", "9"),
    "notify": lambda: notified("/run/notify"),
    "notify, abstract": lambda: notified("@vt/notify"),
    "command 7": lambda: ends("--", "sh", "-c", "exit 7"),
    "command 0": lambda: ends("--", "true"),
    "duration": lambda: ends("--duration", "0.5", "--", "sleep", "1000"),
    "ctrl-c": ctrl_c_with_command,
}


def main() -> None:
    os.chdir("/tmp")
    os.system("modprobe -r virtio_rng")
    found: dict[str, Any] = {}
    for name, scenario in SCENARIOS.items():
        OUT.unlink(missing_ok=True)
        try:
            found[name] = scenario()
        except Exception as error:  # the other scenarios must run
            found[name] = {"error": repr(error)}
    print(json.dumps(found))


if __name__ == "__main__":
    main()
