# SPDX-License-Identifier: GPL-2.0-or-later
"""Images that begin from an EFI system partition: systemd-boot's entries, unified kernel images."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.unit.vm.disk import esp
from tests.unit.vm.disk.test_extract import _RELEASE, file_system, root, take, tool, vmlinuz
from virtio_trace.errors import BadInputError, CannotTraceError
from virtio_trace.vm.disk import extract, volumes
from virtio_trace.vm.disk.extract import Given
from virtio_trace.vm.host import programs
from virtio_trace.vm.host.programs import quiet

__all__ = ["root"]

KERNEL = vmlinuz(_RELEASE)
OSREL = b"ID=debian\nPRETTY_NAME=Debian\nIMAGE_VERSION=%d\n"
SQUASHFS = (b"hsqs".ljust(28, b"\0") + b"\4\0").ljust(1 << 20, b"\0")
"""The head of one."""


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """The files of an EFI system partition with systemd-boot."""
    top = tmp_path / "esp"
    (top / "EFI/systemd").mkdir(parents=True)
    (top / "EFI/systemd/systemd-bootx64.efi").write_bytes(b"MZ")
    (top / "loader/entries").mkdir(parents=True)
    (top / "loader/loader.conf").write_text("timeout 3\n")
    return top


def entry(tree: Path, name: str, text: str) -> None:
    """A type 1 entry with a kernel and two initrds."""
    folder = tree / name
    folder.mkdir()
    (folder / "linux").write_bytes(KERNEL)
    for initrd in ("ucode", "initrd"):
        (folder / initrd).write_bytes(f"{initrd} of {name}".encode())
    (tree / f"loader/entries/{name}.conf").write_text(
        f"title {name}\nlinux /{name}/linux\ninitrd /{name}/ucode\ninitrd /{name}/initrd\n{text}"
    )


def image(tmp_path: Path, tree: Path, fs: Path | None, kind: str = esp.ROOT) -> Path:
    """A disk with the files of TREE in its ESP, and the file system FS."""
    parts = [(esp.ESP, esp.fat(tree, tmp_path / "fat"), "")]
    parts += [(kind, fs, f",uuid={esp.ROOT_UUID}")] if fs else []
    return esp.disk(tmp_path / "disk.img", *parts)


def test_the_entries_of_systemd_boot(tree: Path, root: Path, tmp_path: Path) -> None:
    """GRUB's configuration, which is there too, is not what boots."""
    entry(tree, "good", "options root=UUID=1 quiet\nsort-key a\nversion 1\n")
    entry(tree, "better+0-3", "options x\nsort-key a\nversion 2\n")
    system = take(image(tmp_path, tree, file_system(root, tmp_path / "fs")), tmp_path)
    assert (system.title, system.options) == ("good", "root=UUID=1 quiet")
    assert system.vmlinuz.read_bytes() == KERNEL
    assert [file.read_bytes() for file in system.initrds] == [b"ucode of good", b"initrd of good"]
    assert system.notes == ["disk.img boots good, by /loader/entries/good.conf"]
    assert system.modules is not None
    assert (system.modules / "kernel/drivers/virtio_net.ko").exists()
    assert (system.tree / "etc/modprobe.d/mine.conf").exists()
    assert not system.only_initrd


def test_loader_conf_chooses_between_both_types(tree: Path, tmp_path: Path) -> None:
    entry(tree, "one", "options root=/dev/one\nsort-key a\n")
    for number in (1, 2):
        esp.unified(
            tree / f"EFI/Linux/image-{number}+3.efi",
            **{"osrel": OSREL % number, "cmdline": b"root=/dev/%d" % number, "linux": KERNEL},
            initrd=b"initrd %d" % number,
        )
    path = image(tmp_path, tree, None)
    assert take(path, tmp_path).options == "root=/dev/one"
    for pattern, options in (("image-*", "root=/dev/2"), ("image-1.efi", "root=/dev/1")):
        (tree / "loader/loader.conf").write_text(f"default {pattern}\n")
        system = take(image(tmp_path, tree, None), tmp_path)
        assert system.options == options
    assert system.title == "Debian"
    assert [file.read_bytes() for file in system.initrds] == [b"initrd 1"]
    assert system.notes[0] == "disk.img boots Debian, by /EFI/Linux/image-1+3.efi"


def test_a_unified_kernel_image_in_place_of_a_boot_loader(root: Path, tmp_path: Path) -> None:
    shutil.rmtree(root / "boot")
    tree = tmp_path / "esp"
    esp.unified(
        tree / "EFI/BOOT/BOOTX64.EFI", osrel=OSREL % 1, linux=KERNEL, cmdline=b"a", initrd=b"x"
    )
    system = take(image(tmp_path, tree, file_system(root, tmp_path / "fs")), tmp_path)
    assert system.options == f"a root=PARTUUID={esp.ROOT_UUID.lower()} rw"
    assert "the partition's type says that it is the root" in system.notes[1]


@pytest.mark.parametrize(
    "case",
    [
        ("quiet", "", "quiet root=PARTUUID={} rw"),
        ("ro", "", "ro root=PARTUUID={}"),
        ("", "ro", "root=PARTUUID={}"),
        ("root=gpt-auto", "", "root=gpt-auto root=PARTUUID={} rw"),
        ("root=/dev/x", "", "root=/dev/x"),
        ("", "root=/dev/x", ""),
        ("roothash=12", "", "roothash=12"),
        ("rd.root=x", "", "rd.root=x root=PARTUUID={} rw"),
    ],
)
def test_a_root_that_the_options_do_not_name(
    tree: Path, root: Path, tmp_path: Path, case: tuple[str, str, str]
) -> None:
    options, append, expected = case
    entry(tree, "x", f"options {options}\n")
    path = image(tmp_path, tree, file_system(root, tmp_path / "fs"))
    assert take(path, tmp_path, append).options == expected.format(esp.ROOT_UUID.lower())


def test_a_root_that_no_partition_is(tree: Path, root: Path, tmp_path: Path) -> None:
    entry(tree, "x", "options quiet\n")
    fs = file_system(root, tmp_path / "fs")
    system = take(image(tmp_path, tree, fs, "linux"), tmp_path)
    assert system.options == "quiet"
    assert "no partition has the type of a root" in system.notes[1]
    parts = (esp.ESP, tmp_path / "fat", ""), (esp.ROOT, fs, ',attrs="GUID:63"')
    assert take(esp.disk(tmp_path / "disk.img", *parts), tmp_path).options == "quiet"


def test_a_root_that_needs_a_hash_or_a_passphrase(tree: Path, root: Path, tmp_path: Path) -> None:
    entry(tree, "x", "options quiet\n")
    boot = (esp.ESP, esp.fat(tree, tmp_path / "fat"), "")
    fs = file_system(root, tmp_path / "fs")
    path = esp.disk(tmp_path / "a.img", boot, (esp.ROOT, fs, ""), (esp.ROOT_VERITY, None, ""))
    with pytest.raises(BadInputError, match=r"partition 2 \(ext4\), is protected by dm-verity"):
        take(path, tmp_path)
    assert take(path, tmp_path, "roothash=12").options == "quiet"
    locked = tmp_path / "locked"
    locked.write_bytes(b"LUKS\xba\xbe\x00\x01".ljust(1 << 20, b"\0"))
    path = esp.disk(tmp_path / "b.img", boot, (esp.ROOT, locked, ""))
    with pytest.raises(BadInputError, match=r"\(crypto_LUKS\), is encrypted"):
        take(path, tmp_path)


def test_every_partition_is_named_when_nothing_boots(
    tree: Path, root: Path, tmp_path: Path
) -> None:
    shutil.rmtree(root / "boot")
    squashfs = tmp_path / "squashfs"
    squashfs.write_bytes(SQUASHFS)
    swap = tmp_path / "swap"
    swap.write_bytes(bytes(1 << 20))
    tool("mkswap", str(swap))
    parts = [(esp.ROOT, file_system(root, tmp_path / "fs"), ""), ("linux", squashfs, "")]
    path = esp.disk(
        tmp_path / "disk.img",
        *((esp.ESP, esp.fat(tree, tmp_path / "fat"), ""), *parts),
        *(("swap", swap, ""), ("linux", None, "")),
    )
    with pytest.raises(BadInputError) as refused:
        take(path, tmp_path)
    assert str(refused.value).partition(": nothing to boot: ")[2].split("; ") == [
        "partition 1 (vfat) has no boot loader entry and no unified kernel image",
        "partition 2 (ext4) has no boot loader entry and no kernel",
        "partition 3 (squashfs) cannot be read by grub-fstest",
        "partition 4 (swap) has no files",
        "partition 5 (nothing known to blkid) has no files",
    ]


def test_without_mtools_it_is_named_where_it_is_needed(
    tree: Path, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(volumes, "missing", lambda _: ["mdir"])
    fs = file_system(root, tmp_path / "fs")
    assert "grub.cfg" in take(image(tmp_path, tree, fs), tmp_path).notes[0]
    real = programs.find

    def find(program: str) -> str:
        if program in ("mdir", "mcopy"):
            raise CannotTraceError(program)
        return real(program)

    entry(tree, "x", "options root=/dev/x\n")
    path = image(tmp_path, tree, None)
    monkeypatch.setattr(programs, "find", find)
    with pytest.raises(CannotTraceError, match="mdir, mcopy are not installed") as refused:
        take(path, tmp_path)
    assert refused.value.hint == "apt install mtools"


def test_entries_that_grub_reads(root: Path, tmp_path: Path) -> None:
    """Fedora and its relatives: grub.cfg has blscfg, and grubenv the default and the options."""
    (root / "boot/grub").rename(root / "boot/grub2")
    (root / "boot/grub2/grub.cfg").write_text('set default="${saved_entry}"\nblscfg\n')
    (root / "boot/grub2/grubenv").write_text(
        "# GRUB Environment Block\nsaved_entry=1-6.1[x]\nkernelopts=root=/dev/mapper/x ro \n###"
    )
    (root / "boot/loader/entries").mkdir(parents=True)
    for release in ("6.1[x]", "6.2"):
        (root / f"boot/loader/entries/1-{release}.conf").write_text(
            f"title {release}\nversion {release}\nlinux /vmlinuz-{_RELEASE}\n"
            f"initrd /initrd.img-{_RELEASE}\noptions $kernelopts a=b $tuned_params\n"
        )
    system = take(file_system(root, tmp_path / "disk.img"), tmp_path)
    assert (system.title, system.options) == ("6.1[x]", "root=/dev/mapper/x ro  a=b")
    (root / "boot/grub2/grubenv").unlink()
    assert take(file_system(root, tmp_path / "disk.img"), tmp_path).title == "6.2"


def given(path: Path, tmp_path: Path, ours: Given, append: str = "") -> extract.ImageSystem:
    """The image's system with what is OURS."""
    scratch = tmp_path / "scratch"
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir()
    return extract.extract_system(path, append, scratch, quiet, given=ours)


def test_what_is_given_replaces_what_is_in_the_image(root: Path, tmp_path: Path) -> None:
    path = file_system(root, tmp_path / "disk.img")
    kernel, initrd = tmp_path / "kernel", tmp_path / "initrd"
    kernel.write_bytes(vmlinuz("9.9.9"))
    initrd.write_bytes(b"initrd of ours")
    system = given(path, tmp_path, Given(vmlinuz=kernel))
    assert system.vmlinuz == kernel
    assert system.initrds[0].read_bytes() == f"initrd of {_RELEASE}".encode()
    assert "root=UUID=" in system.options
    assert system.notes[0].endswith("by /boot/grub/grub.cfg, with the kernel given")
    system = given(path, tmp_path, Given(initrds=(initrd,)))
    assert system.vmlinuz.read_bytes() == KERNEL and system.initrds == (initrd,)
    assert system.modules is not None and not system.only_initrd
    ours = Given(kernel, (initrd,), "root=/dev/ours", tmp_path)
    system = given(path, tmp_path, ours)
    assert (system.options, system.modules) == ("root=/dev/ours", tmp_path)
    assert (system.tree / "etc/modprobe.d/mine.conf").exists()


def test_an_image_that_cannot_be_read_is_booted_with_what_is_given(tmp_path: Path) -> None:
    squashfs, kernel, initrd = (tmp_path / name for name in ("squashfs", "kernel", "initrd"))
    squashfs.write_bytes(SQUASHFS)
    kernel.write_bytes(KERNEL)
    initrd.write_bytes(b"initrd of ours")
    path = esp.disk(tmp_path / "disk.img", (esp.ROOT, squashfs, f",uuid={esp.ROOT_UUID}"))
    ours = Given(kernel, (initrd,))
    system = given(path, tmp_path, ours)
    assert system.options == f"root=PARTUUID={esp.ROOT_UUID.lower()} rw"
    assert system.notes[0] == "disk.img is booted by the kernel and the initrd given"
    with pytest.raises(BadInputError, match="nothing to boot"):
        given(path, tmp_path, Given(kernel))
