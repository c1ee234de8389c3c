# SPDX-License-Identifier: GPL-2.0-or-later
"""The guest's first process (rdinit=): starts the recorder, then becomes the system's own.

The kernel starts /virtio-trace/early, a script whose interpreter is the Python in that folder, with
a dynamic loader of its own: nothing of the guest's own root is needed. LD_LIBRARY_PATH comes from
the kernel's command line, and goes again here.

Everything in /virtio-trace is removed before the first process goes on: the tools that leave an
initrd delete everything in it. What the recorder needs is mapped or open by then.
"""

from __future__ import annotations

import posix

from virtio_trace.tracer.executor.libc import address, byte_at, function, variable

FOLDER = "/virtio-trace"
_LIBRARIES = b"LD_LIBRARY_PATH"
_SIGINT, _SIGPIPE = 2, 13  # the module signal would import enum
_SIG_DFL = 0
_INT = 0xFFFFFFFF  # the bits of an int that is returned in a register
COMMAND_FD, WAIT_FD = 8, 9
"""Where the guest's own script (vm/guest/plain_init) writes its command's status, and waits for the
recorder's end."""


def main(argv: list[str]) -> None:
    """ARGV are the arguments for the system's first process. Does not return."""
    with open(f"{FOLDER}/task", "rb") as file:  # a text file would need more of the library
        task = dict(line.split("=", 1) for line in file.read().decode().splitlines())
    for number in (_SIGINT, _SIGPIPE):  # Python has changed these two
        function("signal", 2)(number, _SIG_DFL)
    ready, armed = posix.pipe2(posix.O_CLOEXEC)
    own = task.get("own") == "yes"
    status, command = posix.pipe2(posix.O_CLOEXEC)
    ended, end = posix.pipe2(posix.O_CLOEXEC)
    if posix.fork() == 0:
        posix.close(ready)
        posix.close(command)
        posix.close(ended)
        posix.set_blocking(status, False)
        _record(task["port"], armed, status if own else None)
    for number in (armed, status, end):
        posix.close(number)
    # Its end comes when the recorder has armed, and also when it has died: the boot goes on.
    posix.read(ready, 1)
    if own:
        posix.dup2(command, COMMAND_FD)
        posix.dup2(ended, WAIT_FD)
    environment = {name: value for name, value in posix.environ.items() if name != _LIBRARIES}
    remove(FOLDER, keep=task.get("keep", "").split())
    program = task["next"]
    posix.execve(program, [program, *argv], environment)


def _record(port: str, armed: int, command: int | None) -> None:
    status = 1
    try:
        posix.setsid()
        _spare_from_systemd()
        from virtio_trace.tracer.executor.guest import run  # noqa: PLC0415 the first process needs none of it

        run(FOLDER, port, armed, command)
        status = 0
    except BaseException as error:  # to the console: nobody else hears it
        posix.write(2, f"virtio-trace: the recorder failed: {error!r}\n".encode())
    finally:
        posix._exit(status)


def _spare_from_systemd() -> None:
    """When systemd leaves an initrd it kills every process whose name does not begin with @
    (its ROOT_STORAGE_DAEMONS). The name is where the kernel put the arguments of this process."""
    name, folder = variable("program_invocation_name"), bytearray(FOLDER.encode())
    if name and not function("strncmp", 3)(name, address(folder), len(folder)) & _INT:
        byte_at(name).value = b"@"


def remove(folder: str, keep: list[str]) -> None:
    """Remove FOLDER with all that is in it, but the names in KEEP."""
    for name in posix.listdir(folder):
        path = f"{folder}/{name}"
        if name in keep:
            continue
        try:
            posix.unlink(path)
        except IsADirectoryError:
            remove(path, [])
        except OSError:
            continue
    if not keep:
        try:
            posix.rmdir(folder)
        except OSError:
            pass
