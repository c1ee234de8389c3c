# SPDX-License-Identifier: GPL-2.0-or-later
"""The guest's Python: its files, and that it needs no other."""

from __future__ import annotations

import ast
import io
import os
import re
import subprocess
import tarfile
from pathlib import Path

import pytest

from virtio_trace.errors import BadInputError, CannotTraceError
from virtio_trace.kernel.files.machine import AARCH64, MACHINES, X86_64, Machine
from virtio_trace.vm.host import cache
from virtio_trace.vm.root import guest_python
from virtio_trace.vm.root.cpio import Writer, find

pytestmark = pytest.mark.network

MOST_BYTES = 11_000_000
"""Of the archive; the bar for all that is in front of an initrd is 12 MB."""


def unpacked(folder: Path, machine: Machine) -> Path:
    with tarfile.open(guest_python.fetch(machine)) as tar:
        tar.extractall(folder / "virtio-trace")
    return folder


def inside(root: Path, program: str) -> subprocess.CompletedProcess[str]:
    """Runs PROGRAM with ROOT, which has nothing else, as its root."""
    as_root = [] if os.geteuid() == 0 else ["unshare", "--map-root-user"]
    argv = [*as_root, "chroot", str(root), *guest_python.command("/virtio-trace"), "-c", program]
    return subprocess.run(argv, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("machine", MACHINES, ids=lambda machine: machine.name)
def test_it_is_small_and_of_the_guests_machine(machine: Machine) -> None:
    with io.BytesIO() as out:
        with Writer(out) as root:
            guest_python.add(root, "virtio-trace", machine, {})
        assert 9_000_000 < out.tell() < MOST_BYTES
    with tarfile.open(guest_python.fetch(machine)) as tar:
        for member in tar:
            file = tar.extractfile(member)
            assert file is not None
            head = file.read(20)
            if member.name.endswith(".pyc"):
                assert head[:2] == (3495).to_bytes(2, "little"), member.name  # Python 3.11
            else:
                assert head[:4] == b"\x7fELF", member.name
                assert int.from_bytes(head[18:20], "little") == machine.elf, member.name


@pytest.mark.parametrize("machine", MACHINES, ids=lambda machine: machine.name)
def test_every_library_that_a_file_needs_is_there(machine: Machine, tmp_path: Path) -> None:
    root = unpacked(tmp_path, machine) / "virtio-trace"
    programs = [root / "python3", root / "ld.so", *root.rglob("*.so*")]
    needed = set()
    for path in programs:
        shown = subprocess.run(["readelf", "-dW", path], check=True, capture_output=True, text=True)
        needed |= set(re.findall(r"\(NEEDED\).*\[(.+)\]", shown.stdout))
    # The loader is loaded already: it starts the program.
    needed = {name for name in needed if not name.startswith("ld-linux-")}
    assert needed == {path.name for path in (root / "lib").iterdir() if path.is_file()}


def test_it_runs_where_there_is_nothing_else(tmp_path: Path) -> None:
    """Each of its modules can be imported, and none of its files is there in vain."""
    root = unpacked(tmp_path, X86_64)
    program = f"import {', '.join(guest_python.MODULES)}\n" + (
        "specs = [module.__spec__ for module in sys.modules.values()]\n"
        "files = [spec.origin for spec in specs if spec and spec.origin]\n"
        "libc = _ctypes.dlopen(None, posix.RTLD_NOW)\n"
        "works = _ctypes.call_cdeclfunction(_ctypes.dlsym(libc, 'getpid'), ()) == posix.getpid()\n"
        "print([sys.version_info[:2], works, sys.flags.isolated, sys.path, files])"
    )
    done = inside(root, program)
    assert done.stderr == ""
    version, works, isolated, path, files = ast.literal_eval(done.stdout)
    loaded = set(files) - {"built-in", "frozen"}
    assert version == (3, 11)
    assert works
    assert isolated
    assert all(folder.startswith("/virtio-trace/lib/python3") for folder in path)
    modules = root / "virtio-trace/lib/python3.11"
    present = {f"/{file.relative_to(root)}" for file in modules.rglob("*") if file.is_file()}
    assert present - loaded == {"/virtio-trace/lib/python3.11/os.pyc"}  # the landmark
    assert loaded <= present


def test_without_its_landmark_it_does_not_start(tmp_path: Path) -> None:
    root = unpacked(tmp_path, X86_64)
    (root / "virtio-trace/lib/python3.11/os.pyc").unlink()
    assert "init_fs_encoding" in inside(root, "pass").stderr


def test_a_program_goes_in_as_byte_code(tmp_path: Path) -> None:
    programs = {"own/__init__.py": b"", "own/answer.py": b"assert True\nprint(6 * 7)\n"}
    with (tmp_path / "cpio").open("wb") as out, Writer(out) as writer:
        guest_python.add(writer, "virtio-trace", AARCH64, programs)
    name = "virtio-trace/lib/python3.11/own/answer.pyc"
    with (tmp_path / "cpio").open("rb") as archive:
        code = find(archive, name)
    with (tmp_path / "cpio").open("rb") as archive:
        assert find(archive, name.removesuffix("c")) is None
    assert code is not None
    # Made for arm64, it runs on x86-64: byte code is the same on all machines.
    root = unpacked(tmp_path / "root", X86_64)
    for package in ("__init__", "answer"):
        file = root / f"virtio-trace/lib/python3.11/own/{package}.pyc"
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(guest_python.byte_code(programs)[f"own/{package}.pyc"])
    assert file.read_bytes() == code
    assert inside(root, "import own.answer").stdout == "42\n"


def test_the_hosts_environment_does_not_reach_the_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONHOME", "/nowhere")
    monkeypatch.setenv("PYTHONOPTIMIZE", "2")
    monkeypatch.setenv("LD_LIBRARY_PATH", "/lib/x86_64-linux-gnu")
    code = guest_python.byte_code({"x.py": b"'a docstring that stays'\nassert True\n"})["x.pyc"]
    assert b"a docstring that stays" in code


def test_a_source_that_does_not_compile_is_an_error() -> None:
    with pytest.raises(CannotTraceError, match=r"compiling the guest's programs.*SyntaxError"):
        guest_python.byte_code({"x.py": b"def\n"})


def test_a_damaged_archive_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = guest_python.fetch(X86_64)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    (cache.root() / whole.name).write_bytes(whole.read_bytes()[:5_000_000])
    with (
        pytest.raises(BadInputError, match="unexpected end of data"),
        Writer(io.BytesIO()) as writer,
    ):
        guest_python.add(writer, "virtio-trace", X86_64, {})


def test_an_old_recipe_is_removed_from_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = guest_python.fetch(X86_64)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    names = ("python-bookworm-amd64-old.tar", "python-bookworm-arm64-old.tar", whole.name)
    old, other, current = (cache.root() / name for name in names)
    for path in (old, other, current):
        path.write_bytes(b"")
        os.utime(path, (0, 0))
    recent = cache.root() / "python-bookworm-amd64-recent.tar"
    recent.write_bytes(b"")
    assert guest_python.fetch(X86_64) == current
    assert not old.exists()
    assert other.exists()
    assert recent.exists()
