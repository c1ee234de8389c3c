# SPDX-License-Identifier: GPL-2.0-or-later
"""The records of machines: complete, distinct, and in agreement with other tools."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import click
import pytest

from virtio_trace.cli.main import cli
from virtio_trace.kernel.files import machine
from virtio_trace.kernel.files.machine import MACHINES, Machine
from virtio_trace.vm.host.programs import PACKAGES

PACKAGE = Path(machine.__file__).parents[2]


@pytest.mark.parametrize("field", ["name", "debian", "elf", "image_magic", "program"])
def test_machines_differ(field: str) -> None:
    values = [getattr(one, field) for one in MACHINES]
    assert len(set(values)) == len(values)
    assert all(values)


@pytest.mark.parametrize("one", MACHINES, ids=lambda one: one.name)
def test_numbers_are_those_of_elf_h(one: Machine) -> None:
    """The C library's list names a machine EM_X and its relocations R_X_*."""
    defined = subprocess.run(
        ["gcc", "-E", "-dM", "-include", "elf.h", "-x", "c", "/dev/null"],
        check=True, capture_output=True, text=True,
    ).stdout  # fmt: skip
    numbers = {name: int(number) for name, number in _DEFINED.findall(defined)}
    (word,) = (name[3:] for name, number in numbers.items() if _is_machine(name, number, one))
    assert one.name.startswith(word.lower())
    names = {number: name for name, number in numbers.items() if name.startswith(f"R_{word}_")}
    assert re.search(r"_(ABS)?64$", names[one.pointer])
    assert all(re.search(r"PC32|PLT32|JUMP|JAL|CALL", names[kind]) for kind in one.calls)
    assert all(re.search(r"32|64|_LO12|_HI20", names[kind]) for kind in one.addresses)


_DEFINED = re.compile(r"^#define (\w+) (\d+)$", re.MULTILINE)


def _is_machine(name: str, number: int, one: Machine) -> bool:
    return name.startswith("EM_") and name != "EM_NUM" and number == one.elf


@pytest.mark.parametrize("one", MACHINES, ids=lambda one: one.name)
def test_it_is_found_by_all_its_names(one: Machine) -> None:
    assert machine.by_name(one.name) is machine.by_debian(one.debian) is one
    assert machine.of_elf(machine.ELF_IDENT + bytes(12) + one.elf.to_bytes(2, "little")) is one
    head = bytearray(machine.IMAGE_HEAD)
    for at, magic in one.image_magic:
        assert at + len(magic) <= machine.IMAGE_HEAD
        head[at : at + len(magic)] = magic
    assert machine.of_image(bytes(head)) is one
    assert machine.of_kernel(bytes(head)) is (one if one.image_flat else None)
    assert PACKAGES[one.program] == one.package


def test_our_own_machine() -> None:
    here = machine.of_elf(Path("/proc/self/exe").read_bytes())
    said = subprocess.run(["uname", "-m"], check=True, capture_output=True, text=True).stdout
    assert here is machine.by_name(said.strip())
    assert here is None or here.native


@pytest.mark.parametrize("data", [b"", b"\x7fELF", b"\x7fELF\x01\x01" + bytes(90), bytes(0x300)])
def test_other_files_are_for_no_machine(data: bytes) -> None:
    found = machine.of_elf(data), machine.of_image(data), machine.of_kernel(data)
    assert found == (None, None, None)
    assert (machine.by_name("s390x"), machine.by_debian("s390x")) == (None, None)  # big-endian


def test_a_machine_is_named_in_its_record_alone() -> None:
    """In code; comments and messages elsewhere may name one."""
    words = "|".join(re.escape(word) for one in MACHINES for word in (one.name, one.program))
    named = re.compile(rf"""["'](?:{words})["']""")
    found = {
        str(path.relative_to(PACKAGE))
        for path in PACKAGE.rglob("*.py")
        if named.search(path.read_text(encoding="utf-8"))
    }
    # The executor runs in guests, without that file. OpenTelemetry and KernelCI have names of their
    # own for machines, also for those that are no Machine.
    foreign = {"render/kcidb.py", "render/otlp.py"}
    assert found == {"kernel/files/machine.py", "tracer/executor/syscalls.py"} | foreign


def test_messages_and_help_name_the_machines_of_the_table() -> None:
    assert machine.NAMES.split(" or ") == [one.title for one in MACHINES]
    for path in sorted((PACKAGE / "cli").rglob("*.py")):
        text = path.read_text("utf-8")
        assert not [one.title for one in MACHINES if one.title in text], path
    for name in ("boot", "inspect"):
        command = cli.get_command(click.Context(cli), name)
        assert command is not None
        assert machine.NAMES in str(command.help)
