# SPDX-License-Identifier: GPL-2.0-or-later
"""The guest's Python as the first process of a guest that has nothing else, not even /proc."""

from __future__ import annotations

import ast
import re
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from virtio_trace.kernel.files.machine import AARCH64, MACHINES, X86_64, Machine
from virtio_trace.tracer.executor import libc
from virtio_trace.vm.host import debian
from virtio_trace.vm.qemu import process
from virtio_trace.vm.root import guest_python
from virtio_trace.vm.root.cpio import Writer

KERNELS = {
    X86_64.name: "linux-image-cloud-amd64/bookworm",
    AARCH64.name: "linux-image-cloud-arm64/trixie",
}
_PATIENCE_SECONDS = 600.0

# include/uapi/linux/bpf.h: BPF_MAP_CREATE with type (BPF_MAP_TYPE_ARRAY), key_size, value_size and
# max_entries; and BPF_MAP_UPDATE_ELEM and BPF_MAP_LOOKUP_ELEM with descriptor, key and value.
_PROGRAM = """
import {modules}

{libc}

machine = posix.uname().machine
syscall = function("syscall", 4)

def bpf(command, *attributes):
    data = bytearray(struct.pack("<" + attributes[0], *attributes[1:]).ljust(128, bytes(1)))
    found = syscall({{"x86_64": 321, "aarch64": 280}}[machine], command, address(data), 128)
    return found if found >= 0 else -error_number()

array = bpf(0, "4I", 2, 4, 8, 1)
key, value = bytearray(4), bytearray(struct.pack("<Q", 0x123456789))
updated = bpf(2, "2I3Q", array, 0, address(key), address(value), 0)
value[:] = bytes(8)
bpf(1, "2I3Q", array, 0, address(key), address(value), 0)
nothing = bpf(0, "4I", 9999, 4, 8, 1)
print("FOUND", [machine, posix.getpid(), sys.version, array >= 0, updated,
    *struct.unpack("<Q", value), nothing, sorted(posix.listdir("/"))], flush=True)
function("reboot", 1)(0x4321FEDC)  # LINUX_REBOOT_CMD_POWER_OFF
"""


def boot(machine: Machine, folder: Path) -> list[Any]:
    """What the program printed on the console of a guest of MACHINE."""
    kernel = debian.fetch(KERNELS[machine.name])
    source = Path(libc.__file__).read_text(encoding="utf-8")
    program = _PROGRAM.format(modules=", ".join(guest_python.MODULES), libc=source).encode()
    loader, *words = guest_python.command("/virtio-trace")
    # The kernel gives its first process what comes after "--". It must print nothing in between.
    first = f"console={machine.console} panic=-1 loglevel=3 {machine.parameters} rdinit={loader} --"
    append = f"{' '.join(words)} /virtio-trace/lib/python3.11/program.pyc"
    config = process.QemuConfig(kernel.vmlinuz, append, "tcg", arch=machine, first=first)
    said = b""
    with tempfile.TemporaryFile() as initrd:
        with Writer(initrd) as root:
            guest_python.add(root, "virtio-trace", machine, {"program.py": program})
        initrd.flush()
        with process.Run(config, initrd.fileno()) as qemu:
            for source, data in qemu.read(time.monotonic() + _PATIENCE_SECONDS):
                said += data if source == "console" else b""
    found = re.search(rb"FOUND (.*)", said)
    assert found, said.decode(errors="replace")[-3000:]
    return list(ast.literal_eval(found[1].decode().strip()))


BOOTS: dict[str, Callable[[Path], Any]] = {
    machine.name: partial(boot, machine) for machine in MACHINES
}


@pytest.mark.parametrize("name", BOOTS)
def test_it_runs_as_the_first_process(name: str, boots: dict[tuple[str, str], Future[Any]]) -> None:
    """It imports every module, calls the C library, and bpf(2), as the executor does."""
    machine, process_id, version, created, updated, value, refused, listed = boots[
        __name__, name
    ].result()
    assert machine == name
    assert process_id == 1
    assert version.startswith("3.11.")
    assert created
    assert updated == 0
    assert value == 0x123456789
    assert refused == -22  # EINVAL: no such type of map
    assert set(listed) == {"dev", "root", "virtio-trace"}  # the first two are the kernel's own
