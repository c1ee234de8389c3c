# SPDX-License-Identifier: GPL-2.0-or-later
"""Entries of the Boot Loader Specification, and which of them is the default."""

from __future__ import annotations

import itertools
import time

import pytest

from virtio_trace.vm.disk import bls
from virtio_trace.vm.disk.bootloader import BootEntry


def default(files: dict[str, str], loader: str = "") -> BootEntry | None:
    """The default of type 1 entries: name to text."""
    read = (bls.type1(name, text) for name, text in files.items())
    chosen = bls.choose((one for one in read if one is not None), loader)
    return chosen.entry if chosen else None


ENTRIES = {
    "abc-6.1.0-9.conf": "title Old\nversion 6.1.0-9\nlinux /abc/6.1.0-9/linux\noptions ro\n",
    "abc-6.1.0-10.conf": (
        "# made by kernel-install\ntitle      New\nversion    6.1.0-10\n"
        "options    root=UUID=1\noptions quiet\nlinux  /abc/linux\ninitrd /u.img\ninitrd /i.img\n"
    ),
    "windows.conf": "title Windows\nefi /EFI/x.efi\n",
}


def test_the_newest_of_the_entries() -> None:
    expected = BootEntry("New", "/abc/linux", ("/u.img", "/i.img"), "root=UUID=1 quiet")
    assert default(ENTRIES) == expected
    assert default(ENTRIES, "timeout 3\ndefault nothing-*\n") == expected
    assert default({"w.conf": ENTRIES["windows.conf"]}) is None


def test_the_entry_that_loader_conf_names() -> None:
    entry = default(ENTRIES, "default abc-6.1.0-9.conf\n")
    assert entry is not None
    assert (entry.title, entry.initrds, entry.options) == ("Old", (), "ro")


def test_versions_are_sorted_by_their_numbers() -> None:
    versions = ["6.1.0-9-amd64", "6.1.0-10-amd64", "6.12.1", "5.10.0-32", "6.1.0-10-cloud-amd64"]
    assert sorted(versions, key=bls.version_key) == [
        "5.10.0-32", "6.1.0-9-amd64", "6.1.0-10-amd64", "6.1.0-10-cloud-amd64", "6.12.1",
    ]  # fmt: skip


@pytest.mark.parametrize("version", ["²", "6.1²", "٣", "1." + "9" * 5000, ""])
def test_a_version_that_no_integer_holds(version: str) -> None:
    keys = [bls.version_key(version), bls.version_key("6.1.0")]
    assert sorted(keys, reverse=True) in (keys, keys[::-1])
    entry = default({"x.conf": f"version {version}\nlinux /x\n"})
    assert entry is not None


def test_numbers_of_any_length_are_sorted_by_value() -> None:
    versions = ["1.7", "1.010", "1." + "9" * 4999, "1." + "1" + "0" * 4999]
    assert sorted(versions, key=bls.version_key) == versions


LONG = "9" * 5000


@pytest.mark.parametrize("version", ["²", "6.²", LONG, f"0{LONG}"])
def test_a_version_that_is_no_number(version: str) -> None:
    found = default({"a.conf": f"linux /a\nsort-key x\nversion {version}", "b.conf": "linux /b"})
    assert found is not None


def test_versions_are_ordered_as_systemd_orders_them() -> None:
    """The examples of the Version Format Specification, and ours."""
    ordered = [
        "~1", "", "122~rc1", "122.1", "123~rc1-1", "123", "123-a", "123-a.1", "123-1", "123-1.1",
        "123^post1", "123.a-1", "123.1-1", "123a-1", "124-1", f"6{LONG}", f"6{LONG}0",
    ]  # fmt: skip
    keys = [bls.version_key(text) for text in ordered]
    assert all(before < after for before, after in itertools.pairwise(keys))
    same = [bls.version_key(text) for text in ("6.1.0", "6.01.0", "_6.1.0", "6.1_.0")]
    assert same == [same[0]] * 4


def test_the_order_of_systemd_boots_menu() -> None:
    """The Boot Loader Specification, Sorting: sort-key, machine-id, version; else the file's name.
    Entries that boot counting gave up are last."""

    def entry(*lines: str) -> str:
        return "\n".join(["linux /x", *lines])

    files = {
        "gone+0-3.conf": entry("sort-key a", "title gone"),
        "debian-2.conf": entry("sort-key debian", "machine-id 1", "version 2", "title deb2"),
        "debian-10+3.conf": entry("sort-key debian", "machine-id 1", "version 10", "title deb10"),
        "zz.conf": entry("title no key"),
        "fedora.conf": entry("sort-key fedora", "version 99", "title fedora"),
    }
    order = []
    while files:
        found = default(files)
        assert found is not None
        order.append(found.title)
        files = {name: text for name, text in files.items() if f"title {found.title}" not in text}
    assert order == ["deb10", "deb2", "fedora", "no key", "gone"]


@pytest.mark.parametrize(
    ("pattern", "title"),
    [
        ("debian-6.1*", "old"),
        ("DEBIAN-6.1.0.conf", "old"),
        ("debian-6.1.0", "old"),
        ("debian-6.1.0+2-1.conf", "new"),  # an entry's name is without its counter
        ("*.efi", "unified"),
        ("@saved", "new"),  # a variable of the firmware
        ("[", "new"),
    ],
)
def test_the_pattern_of_loader_conf(pattern: str, title: str) -> None:
    candidates = [
        bls.type1("Debian-6.1.0+2-1.conf", "linux /x\ntitle old\nsort-key d\nversion 6.1.0"),
        bls.type1("debian-6.9.0.conf", "linux /x\ntitle new\nsort-key d\nversion 6.9.0"),
        bls.type2("Debian.efi", "/EFI/Linux/Debian.efi", {"ID": "z", "PRETTY_NAME": "unified"}),
    ]
    chosen = bls.choose((one for one in candidates if one), f"# x\ntimeout 3\ndefault\t{pattern}\n")
    assert chosen is not None and chosen.entry.title == title


def test_a_unified_kernel_image_is_an_entry() -> None:
    release = {"ID": "debian", "VERSION_ID": "12", "IMAGE_VERSION": "7", "NAME": "Debian"}
    found = bls.type2("Debian+3-1.efi", "/EFI/Linux/Debian+3-1.efi", release)
    assert found == bls.Candidate(
        BootEntry("Debian", unified="/EFI/Linux/Debian+3-1.efi"), "debian.efi", "debian", "", "7"
    )
    assert bls.type2("x+0.efi", "/x", {}).bad
    assert bls.type2("x.efi", "/x", {}).entry.title == "x.efi"


def test_entries_that_are_not_for_us() -> None:
    assert bls.type1("x.conf", "linux /x\narchitecture aa64\n") is None
    assert bls.type1("x.conf", "efi /EFI/Microsoft/x.efi\n") is None
    assert bls.type1("x.conf", "linux /x\narchitecture x64\n") is not None
    named = bls.type1("x.conf", "uki /EFI/Linux/x.efi\noptions a\n")
    assert named is not None
    assert (named.entry.unified, named.entry.options) == ("/EFI/Linux/x.efi", "a")


@pytest.mark.parametrize(
    "text", ["*a" * 5000, "[" * 250, "*" * 250 + "b", "default " * 100_000, "\ndefault x" * 100_000]
)
def test_a_loader_conf_that_is_made_to_be_slow(text: str) -> None:
    began = time.process_time()
    found = default({f"{'a' * 200}.conf": "linux /x"}, f"default {text}\n")
    assert time.process_time() - began < 5
    assert found is not None
