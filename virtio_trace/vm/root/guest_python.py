# SPDX-License-Identifier: GPL-2.0-or-later
"""A Python for a guest: the program, its libraries, and the few modules that the recorder imports.

It is Debian 12's on every host, of the guest's machine, in one folder of the guest's root. It needs
nothing outside of that folder: no /lib64, /usr, /proc or environment. Its own dynamic loader starts
it, and it finds its modules next to the program.

Modules go in as byte code. In millions of instructions, a start takes 14 (and the kernel's part);
the package ctypes would take 5 more than the module _ctypes, and os 4 more than posix, most of them
to create classes. So only what is written in C, and the module struct, can be imported.
"""

from __future__ import annotations

import hashlib
import json
import struct
import tarfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from virtio_trace.errors import BadInputError, CannotTraceError
from virtio_trace.kernel.files.machine import X86_64, Machine
from virtio_trace.vm.host import apt, cache
from virtio_trace.vm.host.packages import unpack
from virtio_trace.vm.host.programs import Progress, quiet, run
from virtio_trace.vm.root.cpio import Writer

SUITE = "bookworm"
VERSION = "3.11"
"""The Python of SUITE."""

MODULES = (
    *("sys", "posix", "struct", "zlib", "_ctypes", "mmap", "fcntl", "select", "errno", "time"),
    "_thread",
)
"""The modules that a guest's program may import."""

_PACKAGES = (
    f"python{VERSION}-minimal",  # the program
    f"libpython{VERSION}-minimal",  # encodings, struct
    f"libpython{VERSION}-stdlib",  # _ctypes, mmap
    *("libffi8", "libc6", "zlib1g", "libexpat1"),
)

# pyexpat is built into the program, which therefore does not start without libexpat.
_LIBRARIES = ("libc.so.6", "libexpat.so.1", "libffi.so.8", "libm.so.6", "libz.so.1")
_EXTENSIONS = ("_ctypes", "mmap")
_SOURCES = (
    # Python takes the folder above lib/python3.11/os.pyc for its prefix (Modules/getpath.py); the
    # module itself is frozen.
    "os.py",
    # Needed at start.
    *("encodings/__init__.py", "encodings/aliases.py", "encodings/utf_8.py"),
    "struct.py",
)

_LOADER = "ld.so"
_PT_INTERP = 3
PROGRAM = "python3"
_MODULES = f"lib/python{VERSION}"

UNUSED = 86400.0
"""Seconds after which an unused archive of another recipe is removed from the cache."""

FLAGS = "-ISB"
"""-I: neither the environment nor the user's folders; -S: no site; -B: writes no byte code."""

# Reads NAME from the folder in argv[1] and writes its byte code in argv[2], for each further NAME.
# Its PEP 552 header says "unchecked hash": the hash is not read. Annotations are never evaluated,
# and without "from __future__ import annotations" there is one module less to import.
_COMPILE = """
import marshal, sys
from _frozen_importlib_external import MAGIC_NUMBER
ONLY_AST, ANNOTATIONS = 0x400, 0x1000000  # PyCF_ONLY_AST, CO_FUTURE_ANNOTATIONS
head = MAGIC_NUMBER + (1).to_bytes(4, "little") + bytes(8)
for name in sys.argv[3:]:
    with open(f"{sys.argv[1]}/{name}", "rb") as file:
        tree = compile(file.read(), name, "exec", ONLY_AST, dont_inherit=True)
    tree.body = [part for part in tree.body if getattr(part, "module", "") != "__future__"]
    code = compile(tree, name, "exec", ANNOTATIONS, dont_inherit=True)
    with open(f"{sys.argv[2]}/{name}", "wb") as file:
        file.write(head + marshal.dumps(code))
"""


def fetch(machine: Machine, progress: Progress = quiet) -> Path:
    """The Python for a guest of MACHINE: a tar in the cache, made if it is not there.

    Concurrent callers make it once. Raises CannotTraceError when the mirror cannot be reached, apt
    or dpkg fails, or the cache cannot be written.
    """
    path = cache.root() / f"python-{SUITE}-{machine.debian}-{_key()}.tar"
    with cache.lock(f"python-{machine.debian}", progress):
        if not path.exists():
            cache.sweep()
            with cache.scratch("python") as scratch:
                suite = apt.Suite(SUITE, None if machine.native else machine.debian)
                tree = unpack(suite, _PACKAGES, scratch, progress)
                try:
                    _build(tree, machine, scratch / "python", progress)
                    _write(scratch / "python", scratch / "python.tar")
                    (scratch / "python.tar").replace(path)
                except OSError as error:
                    raise cache.cannot("cannot write to the cache", path, error) from error
        cache.use(path, f"python-{SUITE}-{machine.debian}-*.tar", UNUSED)
    return path


def add(
    root: Writer,
    folder: str,
    machine: Machine,
    programs: Mapping[str, bytes],
    progress: Progress = quiet,
) -> None:
    """Adds the Python for MACHINE to ROOT below FOLDER, and PROGRAMS: the sources of modules that
    it can import, by their paths (``package/module.py``), which go in as byte code.

    Raises CannotTraceError (see :func:`fetch`), BadInputError where the cache is damaged.
    """
    archive = fetch(machine, progress)
    compiled = byte_code(programs, progress)
    for name, mode, data in _read(archive):
        if name == PROGRAM:
            data = with_interpreter(data, f"/{folder}/{_LOADER}")  # noqa: PLW2901
        root.file(f"{folder}/{name}", data, mode)
    for name, code in compiled.items():
        root.file(f"{folder}/{_MODULES}/{name}", code)


def command(folder: str) -> tuple[str, ...]:
    """The command that starts the Python of FOLDER, an absolute path. Python's own arguments come
    after it: ``-c "import MODULE"``, or the path of a .pyc."""
    loader = (f"{folder}/{_LOADER}", "--library-path", f"{folder}/lib")
    return (*loader, f"{folder}/{PROGRAM}", FLAGS)


def with_interpreter(program: bytes, path: str) -> bytes:
    """PROGRAM, an ELF file, with the dynamic loader at PATH (PT_INTERP of the System V gABI), so
    that the kernel starts it by name. Raises BadInputError: there is no room for PATH."""
    (table,) = struct.unpack_from("<Q", program, 32)
    size, count = struct.unpack_from("<HH", program, 54)
    for at in range(table, table + size * count, size):
        (kind,) = struct.unpack_from("<I", program, at)
        (offset,) = struct.unpack_from("<Q", program, at + 8)
        (length,) = struct.unpack_from("<Q", program, at + 32)
        if kind == _PT_INTERP and len(path) < length:
            name = path.encode().ljust(length, b"\0")
            return program[:offset] + name + program[offset + length :]
    raise BadInputError(
        f"the guest's Python cannot be started by {path}",
        "this is a fault of virtio-trace: please report it",
    )


def byte_code(sources: Mapping[str, bytes], progress: Progress = quiet) -> dict[str, bytes]:
    """The byte code of SOURCES, by the paths of the .pyc files.

    Byte code is the same on all machines, but each version of Python has its own. So the guest's
    Python compiles it: that for x86-64, on this host. Raises CannotTraceError, also if a source
    does not compile; BadInputError where the cache is damaged.
    """
    if not sources:
        return {}
    archive = fetch(X86_64, progress)
    with cache.scratch("byte-code") as scratch:
        for name, mode, data in _read(archive):
            _put(scratch / "python" / name, data, mode)
        return _compile(sources, scratch / "python", scratch)


def _key() -> str:
    """A hash of the recipe, 12 hexadecimal digits: another recipe is another file."""
    recipe = json.dumps([1, SUITE, _PACKAGES, _LIBRARIES, _EXTENSIONS, _SOURCES, _COMPILE])
    return hashlib.sha256(recipe.encode()).hexdigest()[:12]


def _build(tree: Path, machine: Machine, python: Path, progress: Progress) -> None:
    """Copies what the guest needs from the unpacked packages in TREE to the folder PYTHON."""
    triplet = f"{machine.name}-linux-gnu"
    _copy(tree, f"usr/bin/python{VERSION}", python / PROGRAM, 0o755)
    _copy(tree, f"**/{triplet}/ld-linux-*.so.*", python / _LOADER, 0o755)
    for name in _LIBRARIES:
        _copy(tree, f"**/{triplet}/{name}", python / "lib" / name)
    for name in _EXTENSIONS:
        target = python / _MODULES / "lib-dynload" / f"{name}.so"
        _copy(tree, f"usr/{_MODULES}/lib-dynload/{name}.cpython-*-{triplet}.so", target)
    sources = {name: (tree / "usr" / _MODULES / name).read_bytes() for name in _SOURCES}
    if machine.name == X86_64.name:  # It needs some of them itself to compile them.
        for name, source in sources.items():
            _put(python / _MODULES / name, source)
        compiled = _compile(sources, python, tree)
        for name in sources:
            (python / _MODULES / name).unlink()
    else:
        compiled = byte_code(sources, progress)
    for name, code in compiled.items():
        _put(python / _MODULES / name, code)


def _copy(tree: Path, pattern: str, target: Path, mode: int = 0o644) -> None:
    """Copies the one file of TREE that PATTERN matches. Raises CannotTraceError if there is none,
    or more than one."""
    found = {path.resolve() for path in tree.glob(pattern)}
    if len(found) != 1:
        raise CannotTraceError(f"the packages of {SUITE} have {len(found)} files {pattern}, not 1")
    _put(target, found.pop().read_bytes(), mode)


def _put(path: Path, data: bytes, mode: int = 0o644) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    path.chmod(mode)


def _compile(sources: Mapping[str, bytes], python: Path, scratch: Path) -> dict[str, bytes]:
    """Runs the Python of folder PYTHON, which is for this machine, in folder SCRATCH."""
    came, went = scratch / "sources", scratch / "compiled"
    for name, source in sources.items():
        _put(came / name, source)
        (went / name).parent.mkdir(parents=True, exist_ok=True)
    # env -i: a library that LD_PRELOAD names is for the host's libc.
    program = ("env", "-i", *command(str(python)), "-X", "no_debug_ranges", "-c", _COMPILE)
    run([*program, str(came), str(went), *sources], "compiling the guest's programs")
    return {f"{name}c": (went / name).read_bytes() for name in sources}


def _write(folder: Path, path: Path) -> None:
    """Writes the files of FOLDER as a tar that has nothing else."""
    with tarfile.open(path, "w") as tar:
        for file in sorted(folder.rglob("*")):
            if file.is_file():
                tar.add(file, str(file.relative_to(folder)))


def _read(archive: Path) -> Iterator[tuple[str, int, bytes]]:
    """Name, mode and content of each file in ARCHIVE. Raises BadInputError."""
    try:
        with tarfile.open(archive) as tar:
            for member in tar:
                file = tar.extractfile(member)
                assert file is not None
                yield member.name, member.mode, file.read()
    except (OSError, EOFError, tarfile.TarError) as error:
        raise BadInputError(f"{archive}: {error}", "remove it: it is fetched again") from error
