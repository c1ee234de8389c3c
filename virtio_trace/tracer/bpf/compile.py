# SPDX-License-Identifier: GPL-2.0-or-later
"""Bytecode for a machine: from the package, from the cache, or compiled. The only importer of bcc.

BCC is used as a compiler alone: bpf/ has neither its maps nor its rewriting, so that nothing is
created in the kernel, and any user can compile, for any machine.
"""

from __future__ import annotations

import contextlib
import ctypes as ct
import hashlib
import importlib.util
import os
import re
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from virtio_trace.bpf_source import bpf_folder
from virtio_trace.errors import CannotTraceError
from virtio_trace.kernel.files import machine as machines
from virtio_trace.tracer.bpf import bcc_place, bytecode_store
from virtio_trace.tracer.bpf.bytecode import FUNCTIONS, Bytecode, check, decode, encode
from virtio_trace.tracer.bpf.child import alone_in, in_child, messages

if TYPE_CHECKING:
    import bcc

MACHINES = {machine.name: machine.bpf for machine in machines.MACHINES}
"""The machines, as in ``uname -m``, and bpf/regs.h's names for them."""

_FLAGS = ("-O1", "-I.", "-g0")
"""BCC's own, -O2 -g, makes the same programs and takes longer."""

_LIGHT = (
    "-Xclang", "-disable-llvm-verifier",  # of the compiler, not the kernel's
    "-Xclang", "-discard-value-names",
    "-D_UAPI__LINUX_BPF_H__",
    "-D__BPF_HELPERS_H",
    "-D__BCC_PROTO_H",
    "-DBCC_SEC(name)=__attribute__((section(name),used))",
    "-DSEC(name)=__attribute__((section(name),used))",
)  # fmt: skip
"""Less work for the same programs. BCC includes 8,000 lines before each program, three times. The
program uses none of them: these are the guards of those headers, and the macro (by its two names)
that its license is stated by."""


class Bcc(NamedTuple):
    """What is used of the bcc module (stubs/bcc), and its version."""

    bpf: type[bcc.BPF]
    library: bcc.Library
    version: str


def import_bcc() -> Bcc:
    """The distribution's bcc module. Raises CannotTraceError if there is none, or another one."""
    try:
        import bcc  # noqa: PLC0415 - takes a third of a second, and only compiling needs it
    except ImportError as error:
        why, hint = bcc_place.here()
        raise CannotTraceError(
            f"BCC cannot be imported by {sys.executable}: {why} ({error})", hint
        ) from error
    if "BPF" not in vars(bcc):
        raise CannotTraceError(
            "the imported 'bcc' is not BCC: PyPI has another package of that name",
            f"pip uninstall bcc; {bcc_place.INSTALL}",
        )
    return Bcc(bcc.BPF, bcc.lib, bcc.__version__)


def bytecode(machine: str, *, cookie: bool) -> Bytecode:
    """The programs for MACHINE (as in ``uname -m``); COOKIE: those that ask for the BPF cookie.

    Raises CannotTraceError if there is none and BCC is missing or cannot compile it.
    """
    code = _ready(machine, cookie)
    if code is None:
        code = decode(in_child(lambda: _first(machine, cookie)), "compiled now")
        bytecode_store.keep(_name(machine, cookie), code)
    return code


def _first(machine: str, cookie: bool) -> bytes:
    """For a child: it loads LLVM."""
    return encode(_compile(machine, cookie, lambda: _require_compiler(machine, cookie)))


def require(machine: str, *, cookie: bool) -> None:
    """Raises the CannotTraceError of bytecode() where it would, but compiles nothing."""
    if _ready(machine, cookie) is None:
        _require_compiler(machine, cookie)


def _require_compiler(machine: str, cookie: bool) -> Bcc:
    """BCC. Raises CannotTraceError if there is none, and says why there is no bytecode either."""
    try:
        return import_bcc()
    except CannotTraceError as error:
        absent = bytecode_store.absence(_name(machine, cookie))
        what = f"there is no bytecode for {machine} ({absent}), and {error}"
        raise CannotTraceError(what, error.hint) from error


def _ready(machine: str, cookie: bool) -> Bytecode | None:
    """What need not be compiled: of the package, or of the cache."""
    source = _source_hash(_define(machine), cookie)
    name = _name(machine, cookie)
    code = bytecode_store.packaged(name, source)
    if code is None:
        version = bcc_version()
        code = bytecode_store.cached(name, source, version and f"BCC {version}")
    return code


def compile_now(machine: str, *, cookie: bool) -> Bytecode:
    """The same, always compiled, in a child process. Raises CannotTraceError."""
    return decode(in_child(lambda: encode(_compile(machine, cookie))), "compiled now")


def _compile(machine: str, cookie: bool, full: Callable[[], Bcc] = import_bcc) -> Bytecode:
    """For a child: nothing is restored but its root. FULL gives BCC's module."""
    define, version = _define(machine), bcc_version()
    flags = [*_FLAGS, f"-D{define}", *(["-DVT_COOKIE"] if cookie else [])]
    functions = None
    if version is not None:
        with contextlib.suppress(OSError, CannotTraceError):
            library = ct.CDLL("libbcc.so.0")
            functions = _functions(version, partial(_by_library, library), [*flags, *_LIGHT])
    if functions is None:  # perhaps a version of BCC whose headers have other guards
        found = full()
        version = found.version
        functions = _functions(version, partial(_by_module, found), flags)
    source = _source_hash(define, cookie)
    code = Bytecode(functions, machine, cookie, source, f"BCC {version}", "compiled now")
    check(code)
    return code


Compiler = Callable[[bytes, list[str]], dict[str, bytes]]
"""Source and flags to the programs by name. May raise anything."""


def _functions(version: str, compiler: Compiler, flags: list[str]) -> dict[str, bytes]:
    """The programs by name. Raises CannotTraceError, with what BCC printed."""
    text = (bpf_folder() / "probe.bpf.c").read_bytes()
    with messages() as said, alone_in(bpf_folder()) as folder:
        # BCC takes kernel headers from here; ours are all that its own headers need.
        os.environ["BCC_KERNEL_SOURCE"] = str(folder)
        try:
            return compiler(text, flags)
        except Exception as error:  # BCC raises Exception itself
            lines = said().split("\n")
            detail = next((line for line in lines if "error" in line.lower()), "") or str(error)
            raise CannotTraceError(
                f"BCC {version} cannot compile {bpf_folder()}/probe.bpf.c: {detail.strip()}",
                "install another version of BCC, or report this one",
            ) from error


def _by_module(found: Bcc, text: bytes, flags: list[str]) -> dict[str, bytes]:
    program, library = found.bpf(text=text, cflags=flags), found.library
    module = program.module  # which lives as long as PROGRAM
    start, size = library.bpf_function_start, library.bpf_function_size
    return {
        name: ct.string_at(start(module, name.encode()), size(module, name.encode()))
        for name in FUNCTIONS
    }


def _by_library(library: ct.CDLL, text: bytes, flags: list[str]) -> dict[str, bytes]:
    """The same without BCC's module, which takes longer to import than libbcc to load
    (src/cc/bpf_module.h, the same since BCC 0.13)."""
    create, start = library.bpf_module_create_c_from_string, library.bpf_function_start
    create.restype = start.restype = ct.c_void_p
    size = library.bpf_function_size
    size.restype = ct.c_size_t
    words = (ct.c_char_p * len(flags))(*(flag.encode() for flag in flags))
    module = ct.c_void_p(create(text, ct.c_uint(0), words, len(flags), ct.c_bool(False), None))
    if not module:
        raise ValueError("libbcc cannot compile it")
    return {
        name: ct.string_at(start(module, name.encode()), size(module, name.encode()))
        for name in FUNCTIONS
    }


def write_package(folder: Path) -> list[Path]:
    """Compile all programs into FOLDER, for a package whose users then need no BCC (``make
    bytecode``). Raises CannotTraceError."""
    written = []
    for machine in MACHINES:
        for cookie in (True, False):
            code = compile_now(machine, cookie=cookie)
            name = _name(machine, cookie)
            written.append(bytecode_store.write_packaged(folder, name, code))
    return written


def bcc_version() -> str | None:
    """The version that import_bcc() would give, without importing it (LLVM takes a third of a
    second to load); None if it is not known."""
    spec = importlib.util.find_spec("bcc")
    if spec is None or not spec.submodule_search_locations:
        return None
    try:
        text = Path(spec.submodule_search_locations[0], "version.py").read_text("utf-8")
    except (OSError, ValueError):
        return None
    found = re.search(r"^__version__ = ['\"]([^'\"]+)['\"]$", text, re.MULTILINE)
    return found[1] if found else None


def _name(machine: str, cookie: bool) -> str:
    return f"{machine}-{'cookie' if cookie else 'constant'}"


def _define(machine: str) -> str:
    try:
        return MACHINES[machine]
    except KeyError:
        raise CannotTraceError(
            f"the BPF program does not know the registers of {machine}",
            f"it knows those of {' and '.join(MACHINES)}; to add a machine, see bpf/regs.h",
        ) from None


def _source_hash(define: str, cookie: bool) -> str:
    """A hash of all that the result depends on but the compiler."""
    state = hashlib.sha256(repr((_FLAGS, define, cookie)).encode())
    folder = bpf_folder()
    for path in sorted(folder.rglob("*.[ch]")):
        state.update(f"\0{path.relative_to(folder)}\0".encode())
        state.update(path.read_bytes())
    return state.hexdigest()
