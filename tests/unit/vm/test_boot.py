# SPDX-License-Identifier: GPL-2.0-or-later
"""The channel out of a guest, QEMU's command line and its end, the accelerator, the cache."""

from __future__ import annotations

import fcntl
import marshal
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import CodeType

import pytest

from virtio_trace.cli import main
from virtio_trace.errors import BadInputError, CannotTraceError, UsageError
from virtio_trace.vm import arch, boot
from virtio_trace.vm.host import cache
from virtio_trace.vm.qemu import accel, channel, process
from virtio_trace.vm.root import appliance, payload

STREAM = (
    b'{"schema":"x"}\n{"n":1}\n{"n":2}\n'
    b"virtio-trace: recorder said: virtio-trace: cannot trace here: no BTF\n"
    b"virtio-trace: recorder said:   use another kernel\n"
    b"virtio-trace: recorder ended with status 3\n"
)


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.mark.parametrize("size", [1, 2, 7, 64, 4096])
def test_lines_come_whole_however_they_are_cut(size: int) -> None:
    lines: list[bytes] = []
    guest = channel.Channel(lines.append)
    for at in range(0, len(STREAM), size):
        guest.feed(STREAM[at : at + size])
    guest.close()
    assert lines == [b'{"schema":"x"}\n', b'{"n":1}\n', b'{"n":2}\n']
    assert guest.status == 3
    assert guest.said == ["virtio-trace: cannot trace here: no BTF", "use another kernel"]


def test_a_guest_that_dies_in_mid_line_loses_nothing() -> None:
    lines: list[bytes] = []
    guest = channel.Channel(lines.append)
    guest.feed(b'{"a":1}\n{"b"')
    assert lines == [b'{"a":1}\n']
    guest.close()
    assert lines == [b'{"a":1}\n', b'{"b"']
    assert guest.status is None


def test_the_console_keeps_its_last_lines() -> None:
    tail = channel.Tail()
    text = b"".join(b"line %d\r\n" % n for n in range(100)) + b"no end"
    for at in range(0, len(text), 5):
        tail.feed(text[at : at + 5])
    lines = tail.lines()
    assert len(lines) == channel.TAIL
    assert lines[-2:] == ["line 99", "no end"]


def test_the_line_in_which_the_kernel_dies_is_kept() -> None:
    tail = channel.Tail()
    tail.feed(b"[ 1.0] Kernel panic - not syncing: x\r\n" + b"frame\n" * 100)
    assert tail.lines()[:3] == ["[ 1.0] Kernel panic - not syncing: x", "[...]", "frame"]
    tail = channel.Tail()
    tail.feed(b"[ 1.0] Kernel panic - not syncing: x\r\nframe\n")
    assert tail.lines() == ["[ 1.0] Kernel panic - not syncing: x", "frame"]


def test_a_root_that_does_not_fit_is_noticed() -> None:
    tail = channel.Tail()
    tail.feed(b"[    5.732769] Initramfs unpacking fai")
    assert not tail.cramped
    tail.feed(b"led: write error\r\n")
    assert tail.cramped


def test_memory_goes_by_what_is_unpacked(tmp_path: Path) -> None:
    assert process.memory_for(395 << 20) == process.MEMORY
    generic = process.memory_for(664 << 20)  # Debian 12's linux-image-amd64
    # A tmpfs may fill half of what the kernel has besides the archive, and its own 100 MB.
    assert (generic - 664 - 100) // 2 > 664 + 100
    argv = process.QemuConfig(tmp_path / "k", "", "tcg", memory=generic).argv("i", 5, 6, 7)
    assert argv[argv.index("-m") + 1] == str(generic)


def test_what_fails_while_the_guest_runs_is_not_blamed_on_its_root(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "root").write_bytes(b"root")
    monkeypatch.setattr(payload, "write", lambda out, *_: out.write(b"more"))
    plan = boot.Plan(tmp_path / "k", tmp_path)
    with boot._initrd(tmp_path / "root", plan) as whole:
        assert os.pread(whole.fileno(), 9, 0) == b"rootmore"
    with pytest.raises(BrokenPipeError), boot._initrd(tmp_path / "root", plan):
        raise BrokenPipeError
    monkeypatch.setattr(payload, "write", lambda *_: Path("/dev/full").write_text("x"))
    with (
        pytest.raises(CannotTraceError, match="cannot write the guest's root"),
        boot._initrd(tmp_path / "root", plan),
    ):
        pass


def test_a_command_line_that_would_kill_the_kernel_is_refused() -> None:
    room = process.CMDLINE_MAX - len(process.cmdline("")) - 1
    assert len(process.cmdline("x" * room)) == 2047
    with pytest.raises(UsageError, match="2048 bytes"):
        process.cmdline("x" * (room + 1))
    with pytest.raises(UsageError, match="end of a line"):
        process.cmdline("a\nb")


@pytest.mark.parametrize("option", ["-kernel", "--initrd", "-append", "-daemonize"])
def test_options_that_are_ours(option: str) -> None:
    with pytest.raises(UsageError):
        process.check_options(["-device", "virtio-rng-pci", option])
    process.check_options(["-device", "virtio-rng-pci", "-smp", "2"])


def test_options_replace_the_default_devices(tmp_path: Path) -> None:
    ours = process.QemuConfig(tmp_path / "k", "quiet", "tcg").argv("i", 5, 6, 7)
    theirs = process.QemuConfig(tmp_path / "k", "", "tcg", ("-device", "x")).argv("i", 5, 6, 7)
    assert [word for word in ours if word.startswith("virtio-")] == [
        "virtio-net-pci,netdev=net0,romfile=,addr=02.0",
        "virtio-blk-pci,drive=disk0,addr=03.0",
        "virtio-rng-pci,addr=04.0",
    ]
    assert theirs[-2:] == ["-device", "x"]
    assert not any("virtio" in word for word in theirs)
    assert ours[ours.index("-cpu") + 1] == "max,-cx16"


def test_what_is_no_kernel_image(tmp_path: Path) -> None:
    image = tmp_path / "vmlinuz"
    head = bytearray(0x300)
    head[0x1FE:0x200] = b"\x55\xaa"
    head[0x202:0x206] = b"HdrS"
    image.write_bytes(head)
    arch.of_kernel(image)
    for content in (b"", b"\x7fELF", bytes(head[:0x204]), b"x" * 0x300):
        image.write_bytes(content)
        with pytest.raises(BadInputError, match="no kernel image that QEMU starts"):
            arch.of_kernel(image)
    with pytest.raises(BadInputError, match="No such file"):
        arch.of_kernel(tmp_path / "nothing")


PARENT = """
import sys, time
from pathlib import Path
from virtio_trace.vm.qemu import process
with process.Run(process.QemuConfig(Path("k"), "", "tcg"), 0) as run:
    print(run._child.pid, flush=True)
    time.sleep(60)
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_qemu_dies_with_us(tmp_path: Path, number: signal.Signals) -> None:
    fake = tmp_path / arch.X86_64.program
    fake.write_text("#!/bin/sh\nexec sleep 60\n")
    fake.chmod(0o755)
    env = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=env
    )
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    deadline = time.monotonic() + 10
    while _name(child) != "sleep" and time.monotonic() < deadline:
        time.sleep(0.01)
    assert _name(child) == "sleep"
    parent.send_signal(number)
    parent.wait(10)
    parent.stdout.close()
    while _name(child) == "sleep" and time.monotonic() < deadline:
        time.sleep(0.01)
    assert _name(child) != "sleep"


def _name(pid: int) -> str:
    """The process's name; empty where it is gone or only waits to be reaped."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return ""
    name, state = text[text.index("(") + 1 : text.rindex(")")], text[text.rindex(")") + 2]
    return "" if state == "Z" else name


def test_kvm_that_does_not_work_is_remembered_for_this_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = tmp_path / "kvm"
    monkeypatch.setattr(accel, "usable", lambda: "" if device.exists() else "gone")
    assert accel.candidates("auto") == ("tcg",)
    with pytest.raises(CannotTraceError, match="gone"):
        accel.candidates("kvm")
    device.touch()
    assert accel.candidates("auto") == ("kvm", "tcg")
    accel.remember("tcg")
    assert accel.candidates("auto") == ("tcg",)
    assert accel.candidates("kvm") == ("kvm",)
    monkeypatch.setattr(accel, "machine", lambda: "another kernel")
    assert accel.candidates("auto") == ("kvm", "tcg")


def test_a_module_folder_is_checked(tmp_path: Path) -> None:
    good = tmp_path / "lib/modules/6.1-x"
    (good / "kernel").mkdir(parents=True)
    assert payload.check_modules(good) == good
    for bad in (tmp_path, good / "kernel", tmp_path / "lib", tmp_path / "none"):
        with pytest.raises(BadInputError):
            payload.check_modules(bad)


def test_depmod_writes_nothing_into_the_modules(tmp_path: Path) -> None:
    modules = tmp_path / "lib/modules/6.1-x"
    (modules / "kernel").mkdir(parents=True)
    (modules / "modules.order").write_text("")
    (modules / "modules.builtin").write_text("kernel/drivers/virtio/virtio.ko\n")
    (modules / "modules.dep").write_text("stale\n")
    modules.chmod(0o555)
    before = {path: path.stat().st_mtime_ns for path in modules.rglob("*")}
    made = {path.name: path.read_bytes() for path in payload.index(modules, tmp_path / "scratch")}
    assert {path: path.stat().st_mtime_ns for path in modules.rglob("*")} == before
    assert made["modules.dep"] == b""
    assert "modules.alias" in made
    assert "modules.order" not in made


def test_byte_code_is_what_this_python_reads() -> None:
    code = marshal.loads(payload.byte_code(b"x = 6 * 7\n", "/x.py")[16:])
    assert isinstance(code, CodeType)
    namespace: dict[str, object] = {}
    exec(code, namespace)
    assert namespace["x"] == 42
    assert payload.byte_code(b"def", "/x.py") == b""


def test_the_guests_scripts_are_in_the_package() -> None:
    for name in ("init", "drive"):
        path = payload.PACKAGE / "vm" / "guest" / name
        subprocess.run(["sh", "-n", str(path)], check=True)


def test_the_guest_can_read_compressed_modules() -> None:
    """Its Python knows xz and gzip; .ko.zst takes the program."""
    assert "zstd" in appliance.PACKAGES
    assert appliance.wanted("usr/bin/zstd")


def test_temporary_folders_of_the_dead_are_swept() -> None:
    dead = cache.root() / "tmp-dead"
    (dead / "sub").mkdir(parents=True)
    with cache.scratch("live") as live:
        cache.sweep()
        assert live.is_dir()
        assert not dead.exists()
    assert not live.exists()


def test_a_lock_is_held_by_one() -> None:
    path = cache.root() / "x.lock"
    with cache.lock("x"), path.open() as other, pytest.raises(BlockingIOError):
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
    with path.open() as other:
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_a_cache_that_cannot_be_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(CannotTraceError, match="Not a directory"):
        cache.root()
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.delenv("HOME")
    monkeypatch.setattr("pwd.getpwuid", {}.__getitem__)
    with pytest.raises(CannotTraceError, match="no home"):
        cache.root()


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        ([], 2, "which kernel?"),
        (["--kernel", "x"], 2, "which kernel?"),
        (["--debian", "a-b", "--kernel", "x"], 2, "exclude each other"),
        (["--debian", "A B"], 2, "not a package name"),
        (["--debian", "a-b", "stray"], 2, "not an option of QEMU"),
        (["--debian", "a-b", "--timeout", "0"], 2, "timeout"),
        (["--debian", "a-b", "--timeout", "inf"], 2, "timeout"),
        (["--debian", "a-b", "--append", "x" * 3000], 2, "it takes 2047"),
        (["--debian", "a-b", "--keep-console", "/none/x"], 2, "cannot be written"),
        (["--debian", "a-b", "-o", "/none/x"], 2, "cannot be written"),
        (["--debian", "a-b", "--", "-kernel", "x"], 2, "ours to give"),
        (["--kernel", "/etc/passwd", "--modules", "/tmp"], 5, "is no kernel image"),
        (["--initrd", "x"], 2, "which kernel?"),
        (["--image", "x", "--kernel", "x"], 2, "--image and --kernel exclude each other"),
        (["--image", "x", "--initrd", "x"], 2, "--image and --kernel exclude each other"),
        (["--image", "x", "--run", "true"], 2, "--run does not go with --image"),
        (["--image", "x", "--until", "later"], 2, "is not one of running, quiet"),
        (["--debian", "a-b", "--until", "quiet"], 2, "--until is for --image"),
        (["--image", "/none/x"], 5, "No such file"),
        (["--image", "/etc"], 5, "is no file"),
        (["--image", "/etc/passwd"], 5, "no file system is in it"),
    ],
)
def test_arguments_are_checked_before_anything_is_built(
    arguments: list[str],
    status: int,
    words: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def built(*_: object) -> None:
        raise AssertionError("something was fetched or built")

    monkeypatch.setattr("virtio_trace.vm.root.appliance.appliance", built)
    monkeypatch.setattr("virtio_trace.vm.host.debian.fetch", built)
    assert main.run(["boot", *arguments]) == status
    assert words in capsys.readouterr().err


def test_missing_programs_are_named_with_their_packages(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("shutil.which", lambda *_a, **_k: None)
    assert main.run(["boot", "--debian", "a-b"]) == 3
    said = capsys.readouterr().err
    assert "mmdebstrap" in said
    assert "qemu-system-x86" in said.splitlines()[-1]
