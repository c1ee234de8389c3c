# SPDX-License-Identifier: GPL-2.0-or-later
"""The command line of boot is checked before anything is built."""

from __future__ import annotations

from pathlib import Path

import pytest

from virtio_trace.cli import main
from virtio_trace.errors import BadInputError
from virtio_trace.vm import arch


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def test_what_is_no_kernel_image(tmp_path: Path) -> None:
    image = tmp_path / "vmlinuz"
    head = bytearray(0x300)
    head[0x1FE:0x200] = b"\x55\xaa"
    head[0x202:0x206] = b"HdrS"
    image.write_bytes(head)
    arch.of_kernel(image)
    for content in (b"", b"\x7fELF", bytes(head[:0x204]), b"x" * 0x300):
        image.write_bytes(content)
        with pytest.raises(BadInputError, match="not a kernel image that QEMU starts"):
            arch.of_kernel(image)
    with pytest.raises(BadInputError, match="No such file"):
        arch.of_kernel(tmp_path / "nothing")


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
        (["--debian", "a-b", "--", "-kernel", "x"], 2, "is set by virtio-trace"),
        (["--kernel", "/etc/passwd", "--modules", "/tmp"], 5, "is not a kernel image"),
        (["--initrd", "x"], 2, "which kernel?"),
        (["--image", "x", "--debian", "a-b"], 2, "--debian and --image exclude each other"),
        (["--image", "x", "--kernel", "/none/x"], 5, "/none/x: No such file"),
        (["--image", "x", "--initrd", "/none/x"], 5, "/none/x: No such file"),
        (["--image", "x", "--modules", "/none/x"], 5, "/none/x"),
        (["--image", "x", "--run", "true"], 2, "--run does not go with --image"),
        (["--image", "x", "--until", "later"], 2, "is not one of running, quiet"),
        (["--debian", "a-b", "--until", "quiet"], 2, "--until is for --image"),
        (["--image", "/none/x"], 5, "No such file"),
        (["--image", "/etc"], 5, "is not a file"),
        (["--image", "/etc/passwd"], 5, "no file system in it"),
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

    monkeypatch.setattr("virtio_trace.vm.root.guest_python.fetch", built)
    monkeypatch.setattr("virtio_trace.vm.host.debian.fetch", built)
    assert main.run(["boot", *arguments]) == status
    assert words in capsys.readouterr().err


def test_missing_programs_are_named_with_their_packages(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("shutil.which", lambda *_a, **_k: None)
    assert main.run(["boot", "--debian", "a-b"]) == 3
    said = capsys.readouterr().err
    assert "qemu-system-x86" in said
    assert "qemu-system-x86" in said.splitlines()[-1]
