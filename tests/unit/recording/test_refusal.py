# SPDX-License-Identifier: GPL-2.0-or-later
"""Which lines of the log say that a module could not be loaded."""

from __future__ import annotations

import errno

import pytest

from virtio_trace.kernel.running import kmsg
from virtio_trace.recording import refusal
from virtio_trace.recording.machine_state import LogLine

KERNELS = [
    ("x_y: version magic '6.1.0 SMP' should be '6.12.0 SMP'", "x_y", errno.ENOEXEC),
    ("x: Unknown symbol net_failover_create (err -2)", "x", errno.ENOENT),
    ("x: Unknown symbol printk (err -22)", "x", errno.EINVAL),
    ("x: Unknown symbol printk (err 0)", "x", None),
    ("x: disagrees about version of symbol module_layout", "x", errno.EINVAL),
    ("x: exports duplicate symbol f (owned by kernel)", "x", errno.ENOEXEC),
    ("module x: .gnu.linkonce.this_module section size must match", "x", errno.ENOEXEC),
    ("Loading of unsigned module is rejected", None, errno.EKEYREJECTED),
    ("Loading of module with unavailable key is rejected", None, errno.EKEYREJECTED),
    ("Lockdown: modprobe: unsigned module loading is restricted; see man", None, errno.EPERM),
    ("Invalid ELF section header overflow", None, errno.ENOEXEC),
    ("module: x86/modules: Skipping invalid relocation target, existing", None, errno.ENOEXEC),
]
LOADERS = [
    ("ERROR: could not insert 'virtio_net': Key was rejected by service", errno.EKEYREJECTED),
    ("ERROR: could not insert 'virtio_net': Invalid module format", errno.ENOEXEC),
    ("ERROR: could not insert 'virtio_net': Exec format error", errno.ENOEXEC),
    ("ERROR: could not insert 'virtio_net': Something new", None),
    ("can't load module virtio-net (kernel/x.ko): invalid module format", errno.ENOEXEC),
]
OTHERS = [
    "x: module verification failed: signature and/or required key missing - tainting kernel",
    "Module x is blacklisted",  # modprobe's configuration and the command line have their own words
    "virtio_net virtio1: device advertises feature",
    "x: loading out-of-tree module taints kernel.",
    "virtio-trace: modprobe: FATAL: Module x not found",
    "virtio-trace: drivers loaded",
]


@pytest.mark.parametrize(("text", "module", "number"), KERNELS)
def test_the_kernels_lines(text: str, module: str | None, number: int | None) -> None:
    found = refusal.read(text)
    assert found is not None and not found.by_loader
    assert (found.module, found.number, found.text) == (module, number, text)


@pytest.mark.parametrize(("text", "number"), LOADERS)
def test_modprobes_lines(text: str, number: int | None) -> None:
    found = refusal.read(refusal.LOADER + text)
    assert found is not None and found.by_loader
    assert (found.module, found.number) == ("virtio_net", number)
    assert found.text == text.removeprefix("ERROR: ")
    assert refusal.read(text) is None


@pytest.mark.parametrize("text", OTHERS)
def test_other_lines(text: str) -> None:
    assert refusal.read(text) is None


def test_they_are_kept_in_the_recording_whatever_they_name() -> None:
    log = kmsg.KernelLog(None)
    for text, *_ in KERNELS:
        log.take(LogLine(1, 4, text))
    log.take(LogLine(1, 4, "x: something else"))
    assert [line.text for line in log.about([]).lines] == [text for text, *_ in KERNELS]


def test_of_programs_messages_only_modprobes_are_kept() -> None:
    said = f"{refusal.LOADER}{LOADERS[0][0]}"
    kept = kmsg.parse(f"12,7,99,-;{said}".encode())
    assert kept is not None and (kept.text, kept.level) == (said, 4)
    assert kmsg.parse(b"12,7,99,-;Loading of unsigned module is rejected") is None
