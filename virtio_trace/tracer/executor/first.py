# SPDX-License-Identifier: GPL-2.0-or-later
"""The guest's first process (rdinit=): starts the recorder, then becomes the system's own.

The kernel starts /virtio-trace/early, a script whose interpreter is the Python in that folder, with
a dynamic loader of its own: nothing of the guest's own root is needed. LD_LIBRARY_PATH comes from
the kernel's command line, and goes again here.

Everything in /virtio-trace is removed before the first process goes on: the tools that leave an
initrd delete everything in it. What the recorder needs is mapped or open by then.
"""

from __future__ import annotations

import ctypes
import os

FOLDER = "/virtio-trace"
_LIBRARIES = "LD_LIBRARY_PATH"
_SIGINT, _SIGPIPE = 2, 13  # the module signal would import enum
COMMAND_FD, WAIT_FD = 8, 9
"""Where the guest's own script (vm/guest/plain_init) writes its command's status, and waits for the
recorder's end."""


def main(argv: list[str]) -> None:
    """ARGV are the arguments for the system's first process. Does not return."""
    with open(f"{FOLDER}/task", "rb") as file:  # a text file would need more of the library
        task = dict(line.split("=", 1) for line in file.read().decode().splitlines())
    for number in (_SIGINT, _SIGPIPE):  # Python has changed these two
        ctypes.CDLL(None).signal(number, None)
    ready, armed = os.pipe2(os.O_CLOEXEC)
    own = task.get("own") == "yes"
    status, command = os.pipe2(os.O_CLOEXEC)
    ended, end = os.pipe2(os.O_CLOEXEC)
    if os.fork() == 0:
        os.close(ready)
        os.close(command)
        os.close(ended)
        os.set_blocking(status, False)
        _record(task["port"], armed, status if own else None)
    for number in (armed, status, end):
        os.close(number)
    # Its end comes when the recorder has armed, and also when it has died: the boot goes on.
    os.read(ready, 1)
    if own:
        os.dup2(command, COMMAND_FD)
        os.dup2(ended, WAIT_FD)
    environment = {name: value for name, value in os.environ.items() if name != _LIBRARIES}
    remove(FOLDER, keep=task.get("keep", "").split())
    program = task["next"]
    os.execve(program, [program, *argv], environment)


def _record(port: str, armed: int, command: int | None) -> None:
    status = 1
    try:
        os.setsid()
        _spare_from_systemd()
        from virtio_trace.tracer.executor.guest import run  # noqa: PLC0415 the first process needs none of it

        run(FOLDER, port, armed, command)
        status = 0
    except BaseException as error:  # to the console: nobody else hears it
        os.write(2, f"virtio-trace: the recorder failed: {error!r}\n".encode())
    finally:
        os._exit(status)


def _spare_from_systemd() -> None:
    """When systemd leaves an initrd it kills every process whose name does not begin with @
    (its ROOT_STORAGE_DAEMONS). The name is where the kernel put the arguments of this process."""
    name = ctypes.c_void_p.in_dll(ctypes.CDLL(None), "program_invocation_name").value
    if name is not None and ctypes.string_at(name, len(FOLDER)) == FOLDER.encode():
        ctypes.memset(name, ord("@"), 1)


def remove(folder: str, keep: list[str]) -> None:
    """Remove FOLDER with all that is in it, but the names in KEEP."""
    for name in os.listdir(folder):
        path = f"{folder}/{name}"
        if name in keep:
            continue
        try:
            if os.path.isdir(path) and not os.path.islink(path):
                remove(path, [])
            else:
                os.unlink(path)
        except OSError:
            continue
    if not keep:
        try:
            os.rmdir(folder)
        except OSError:
            pass
