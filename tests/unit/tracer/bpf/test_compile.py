# SPDX-License-Identifier: GPL-2.0-or-later
"""Compiling bpf/ with BCC and, as an oracle, with clang alone. Nothing here needs root."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import virtio_trace
from tests.unit.binutils import run
from virtio_trace.bpf_source import bpf_folder
from virtio_trace.cli.support.prerequisites import PROGRAMS, prerequisites
from virtio_trace.errors import CannotTraceError
from virtio_trace.kernel.running.abilities import Abilities
from virtio_trace.kernel.running.host import HostKernel
from virtio_trace.tracer.bpf import bytecode_store, compile
from virtio_trace.tracer.bpf.bytecode import FUNCTIONS, Bytecode, check, map_loads, point_loads

NOBODY = 65534
PYTHON = "/usr/bin/python3"
"""The interpreter that BCC belongs to."""

VARIANTS = [(machine, cookie) for machine in compile.MACHINES for cookie in (True, False)]


@pytest.fixture(scope="module", params=VARIANTS, ids=str)
def compiled(request: pytest.FixtureRequest) -> Bytecode:
    machine, cookie = request.param
    return compile.compile_now(machine, cookie=cookie)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that the cache has, once it is created."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    # A clone in which `make bytecode` ran has packaged bytecode.
    monkeypatch.setattr(bytecode_store, "PACKAGED", tmp_path / "none")
    return tmp_path / "virtio-trace" / "bytecode"


def with_clang(code: Bytecode, folder: Path) -> Bytecode:
    """The same programs by clang -target bpf. Fails if there are relocations."""
    clang = shutil.which("clang") or shutil.which("clang-14")
    assert clang, "no clang: tools/install-packages test"
    define = f"-D{compile.MACHINES[code.machine]}"
    cookie = ["-DVT_COOKIE"] if code.cookie else []
    made = folder / "probe.o"
    command = [clang, "-target", "bpf", "-O2", "-Wall", "-Wextra", "-Werror", define, *cookie]
    subprocess.run([*command, "-c", bpf_folder() / "probe.bpf.c", "-o", made], check=True)
    assert "There are no relocations" in run("readelf", "-rW", made)
    text = made.read_bytes()
    sections = r"\[ *(\d+)\] \S+ +PROGBITS +\S+ (\S+)"
    starts = {
        number: int(offset, 16)
        for number, offset in re.findall(sections, run("readelf", "-SW", made))
    }
    functions = {}
    for line in run("readelf", "-sW", made).splitlines():
        words = line.split()
        if len(words) == 8 and words[3] == "FUNC":
            start = starts[words[6]] + int(words[1], 16)
            functions[words[7]] = text[start : start + int(words[2])]
    return Bytecode(functions, code.machine, code.cookie, code.source, "clang", "compiled now")


def test_bcc_makes_what_a_loader_can_complete(compiled: Bytecode) -> None:
    check(compiled)
    assert compiled.origin == f"BCC {compile.bcc_version()}, compiled now"


def test_clang_alone_makes_the_same_programs(compiled: Bytecode, tmp_path: Path) -> None:
    other = with_clang(compiled, tmp_path)
    check(other)
    for name in FUNCTIONS:
        ours, theirs = compiled.functions[name], other.functions[name]
        assert abs(len(ours) - len(theirs)) <= len(ours) // 10
        for text in (ours, theirs):
            assert map_loads(text)
            assert bool(point_loads(text)) == (not compiled.cookie and name != "vt_module_load")


def test_a_machine_reads_its_own_registers() -> None:
    x86, arm = (compile.compile_now(machine, cookie=True) for machine in ("x86_64", "aarch64"))
    # r1 is the context: BPF_LDX | BPF_MEM | BPF_DW (0x79), of regs->di and regs[0].
    loads = [re.findall(rb"\x79.(..)", code.functions["vt_return"], re.S) for code in (x86, arm)]
    assert (80).to_bytes(2, "little") in loads[0]  # ax
    assert (0).to_bytes(2, "little") in loads[1]  # regs[0]
    assert (19 * 8).to_bytes(2, "little") in loads[0]  # sp
    assert (31 * 8).to_bytes(2, "little") in loads[1]


def test_with_less_work_the_programs_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """By libbcc alone, and by BCC's module as for a version that has no such function."""
    light = compile.compile_now("x86_64", cookie=True)

    with monkeypatch.context() as without:
        without.setattr(compile, "_by_module", None)
        assert compile.compile_now("x86_64", cookie=True).functions == light.functions
    monkeypatch.setattr(compile, "_LIGHT", ("--no-such-flag",))
    assert compile.compile_now("x86_64", cookie=True).functions == light.functions


def test_an_unknown_machine_is_refused() -> None:
    with pytest.raises(CannotTraceError, match="does not know the registers of s390x"):
        compile.bytecode("s390x", cookie=True)


def script(code: str, folder: Path, **options: Any) -> subprocess.CompletedProcess[str]:
    """Runs CODE, in which M is tracer.bpf.compile, by the interpreter that BCC belongs to."""
    package = Path(virtio_trace.__file__).resolve().parent.parent
    head = "import virtio_trace.tracer.bpf.compile as M\n"
    environment = {
        **os.environ, "PYTHONPATH": str(package), "PYTHONDONTWRITEBYTECODE": "1",
        "XDG_CACHE_HOME": str(folder / "cache"),
    }  # fmt: skip
    return subprocess.run(
        [PYTHON, "-P", "-c", head + code], cwd=folder, env=environment,
        capture_output=True, text=True, check=False, **options,
    )  # fmt: skip


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_an_ordinary_user_can_compile() -> None:
    """Who may create nothing in the kernel."""
    folder = Path("/tmp") / f"virtio-trace-{os.getpid()}"  # pytest's own is root's alone
    folder.mkdir()
    os.chown(folder, NOBODY, NOBODY)
    code = (
        "c = M.compile_now('x86_64', cookie=True)\n"
        "print(len(c.functions))\n"
        "print(M.bytecode('x86_64', cookie=True).found, M.bytecode('x86_64', cookie=True).found)\n"
    )
    try:
        done = script(code, folder, user=NOBODY, group=NOBODY, extra_groups=[])
        assert done.stdout.split("\n")[:2] == ["5", "compiled now cache"], done.stderr
        kept = list((folder / "cache/virtio-trace/bytecode").iterdir())
        assert [path.stat().st_mode & 0o777 for path in kept] == [0o600]
    finally:
        shutil.rmtree(folder)


def test_headers_in_the_current_directory_are_not_found(tmp_path: Path) -> None:
    """clang took linux/types.h from below the working directory."""
    for place in (tmp_path / "linux", tmp_path / "include/linux", tmp_path / "asm", tmp_path):
        place.mkdir(parents=True, exist_ok=True)
        for name in ("types.h", "kconfig.h", "page.h", "events.h"):
            (place / name).write_text('#error "somebody else\'s"\n')
    done = script("print(M.compile_now('x86_64', cookie=False).found)", tmp_path)
    assert (done.stdout, done.returncode) == ("compiled now\n", 0), done.stderr


def test_neither_bcc_nor_llvm_is_loaded_by_who_asks(cache: Path) -> None:
    """A child compiles."""
    code = "import sys\nprint(M.bytecode('x86_64', cookie=True).found, 'bcc' in sys.modules)\n"
    folder = cache.parent.parent
    found = [script(code, folder).stdout for _ in range(2)]
    assert found == ["compiled now False\n", "cache False\n"]


def test_the_version_is_that_of_the_module() -> None:
    assert compile.bcc_version() == compile.import_bcc().version


def test_what_the_cache_has_is_what_was_compiled(cache: Path) -> None:
    first = compile.bytecode("aarch64", cookie=False)
    second = compile.bytecode("aarch64", cookie=False)
    assert (first.found, second.found) == ("compiled now", "cache")
    assert first.functions == second.functions
    assert cache.stat().st_mode & 0o777 == 0o700
    assert len(list(cache.iterdir())) == 1


def test_another_compiler_or_source_is_compiled_again(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compile.bytecode("x86_64", cookie=True)
    assert compile.bytecode("x86_64", cookie=False).found == "compiled now"
    folder = tmp_path / "source"
    shutil.copytree(bpf_folder(), folder)
    with (folder / "read.h").open("a") as file:
        file.write("/* changed */\n")
    monkeypatch.setattr(compile, "bpf_folder", lambda: folder)
    assert compile.bytecode("x86_64", cookie=True).found == "compiled now"
    monkeypatch.setattr(compile, "bcc_version", lambda: "0.0.1")
    assert compile.bytecode("x86_64", cookie=True).found == "compiled now"
    assert len(list(cache.iterdir())) == 3


def test_a_source_that_does_not_compile_is_an_error_with_the_compilers_words(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "source"
    shutil.copytree(bpf_folder(), folder)
    with (folder / "read.h").open("a") as file:
        file.write("#error no such luck\n")
    monkeypatch.setattr(compile, "bpf_folder", lambda: folder)
    with pytest.raises(CannotTraceError, match=r"cannot compile .*no such luck"):
        compile.bytecode("x86_64", cookie=True)
    assert capfd.readouterr().err == ""
    assert not cache.exists()


def test_without_bcc_the_error_says_what_is_missing(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "bcc", None)
    with pytest.raises(CannotTraceError, match=r"no bytecode for x86_64.*BCC cannot be") as seen:
        compile.bytecode("x86_64", cookie=True)
    assert "python3-bpfcc" in seen.value.hint
    assert not cache.exists()


def test_a_package_needs_no_bcc(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = compile.write_package(tmp_path / "package")
    assert len(written) == len(VARIANTS)
    monkeypatch.setattr(bytecode_store, "PACKAGED", tmp_path / "package")
    monkeypatch.setitem(sys.modules, "bcc", None)
    for machine, cookie in VARIANTS:
        code = compile.bytecode(machine, cookie=cookie)
        assert (code.found, code.machine, code.cookie) == ("package", machine, cookie)
    monkeypatch.setattr(compile, "_FLAGS", ("-O2", "-I."))  # the package is of another source
    with pytest.raises(CannotTraceError):
        compile.bytecode("x86_64", cookie=True)
    assert not cache.exists()


def test_what_is_ready_is_not_compiled(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compile.require("x86_64", cookie=True)
    assert not cache.exists()
    compile.bytecode("x86_64", cookie=True)
    monkeypatch.setitem(sys.modules, "bcc", None)
    compile.require("x86_64", cookie=True)
    with pytest.raises(CannotTraceError, match="neither the package nor the cache has it"):
        compile.require("x86_64", cookie=False)


def test_a_package_of_another_version_is_named(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compile.write_package(tmp_path / "none")
    monkeypatch.setattr(compile, "_FLAGS", ("-O2", "-I."))
    monkeypatch.setitem(sys.modules, "bcc", None)
    with pytest.raises(CannotTraceError, match=r"x86_64-cookie\.bin is damaged, or of another ver"):
        compile.require("x86_64", cookie=True)
    assert not cache.exists()


def test_doctor_asks_for_bcc_only_if_there_is_no_bytecode(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kernel = HostKernel()
    ask = dict(prerequisites(Abilities(kernel)))[PROGRAMS]
    for cookie in (True, False):
        compile.bytecode(kernel.machine, cookie=cookie)
    monkeypatch.setitem(sys.modules, "bcc", None)
    assert ask().ok
    shutil.rmtree(cache)
    answer = ask()
    assert not answer.ok
    assert "neither the package nor the cache" in answer.reason
    assert "BCC cannot be imported" in answer.reason
