# SPDX-License-Identifier: GPL-2.0-or-later
"""What a boot loader would boot: from a grub.cfg by grub-mkconfig, and from BLS entries."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from virtio_trace.vm.disk import bootloader
from virtio_trace.vm.disk.bootloader import BootEntry

GRUB = (Path(__file__).resolve().parents[3] / "vm" / "grub.cfg").read_text("utf-8")
_UUID = "5f6d1f0e-8b7c-4c39-9d51-0a5b1c3e7a11"


def test_the_default_of_what_grub_mkconfig_wrote() -> None:
    entry = bootloader.grub(GRUB)
    assert entry is not None
    assert entry.title == "Debian GNU/Linux"
    assert entry.linux.startswith("/boot/vmlinuz-6.1.0-")
    assert entry.initrds == (entry.linux.replace("vmlinuz", "initrd.img"),)
    assert entry.options.split() == [f"root=UUID={_UUID}", "ro", "quiet"]


def test_an_entry_of_a_submenu_by_number_and_by_id() -> None:
    by_number = bootloader.grub(GRUB.replace('set default="0"', 'set default="1>1"'))
    assert by_number is not None
    assert "recovery mode" in by_number.title
    assert "single" in by_number.options.split()
    ident = GRUB.split("'gnulinux-advanced-")[1].split("'")[0]
    by_id = bootloader.grub(
        GRUB.replace('set default="0"', f'set default="gnulinux-advanced-{ident}"')
    )
    assert by_id is not None
    assert by_id.title.startswith("Debian GNU/Linux, with Linux 6.1.0-")


MENU = """
set default="{default}"
set extra="a=1 b=2"
menuentry 'one' --id first {{
    if [ x$feature = xy ]; then
        insmod gzio
    fi
    linux /vmlinuz-1 root=/dev/vda1 $extra "quoted=x y" $nothing ro
    initrd /microcode.img /initrd-1
}}
menuentry "no kernel" {{
    chainloader +1
}}
submenu 'more' {{
    menuentry 'two' {{ # a remark
        linux16 (hd0,gpt1)/vmlinuz-2
    }}
}}
"""
_ONE = BootEntry(
    "one", "/vmlinuz-1", ("/microcode.img", "/initrd-1"), 'root=/dev/vda1 a=1 b=2 "quoted=x y"  ro'
)
_TWO = BootEntry("two", "(hd0,gpt1)/vmlinuz-2")


@pytest.mark.parametrize(
    ("default", "environment", "expected"),
    [
        ("0", "", _ONE),
        ("first", "", _ONE),
        ("2", "", _TWO),
        ("more>two", "", _TWO),
        ("7", "", _ONE),
        ("1", "", _ONE),  # it has no kernel
        ("${saved_entry}", "# GRUB Environment Block\nsaved_entry=2\n####", _TWO),
        ("${saved_entry}", "", _ONE),
    ],
)
def test_the_default(default: str, environment: str, expected: BootEntry) -> None:
    assert bootloader.grub(MENU.format(default=default), environment) == expected


def test_a_default_for_one_boot_only_is_not_it() -> None:
    once = 'if [ "${next_entry}" ] ; then\n   set default="${next_entry}"\nelse\n'
    text = once + '   set default="2"\nfi\n'
    entry = bootloader.grub(text + MENU.format(default="2"))
    assert entry == _TWO


@pytest.mark.parametrize("text", ["", "menuentry 'x' {\n}\n", "}}}", "'", "menuentry", "linux /x"])
def test_a_file_without_an_entry(text: str) -> None:
    assert bootloader.grub(text) is None


@pytest.mark.parametrize("default", ["²", "٣", "9" * 5000, "0>" * 5000 + "0", ">", "0>", "-1"])
def test_a_default_that_is_no_number_of_an_entry(default: str) -> None:
    assert bootloader.grub(MENU.format(default=default)) == _ONE


def test_5000_nested_submenus() -> None:
    text = "submenu x {\n" * 5000 + "menuentry 'deep' {\nlinux /deep\n}\n" + "}\n" * 5000
    entry = bootloader.grub(text)
    assert entry == BootEntry("deep", "/deep")
    assert bootloader.grub('set default="' + "x>" * 5000 + '0"\n' + text) == entry


@pytest.mark.parametrize(
    "text",
    [
        "linux " + "x" * (20 << 20),
        "menuentry '" + "'" * (1 << 20),
        "if true {\n" * 100_000,
        "set a=" + "b" * 4000 + "\nmenuentry x {\nlinux /x " + "$a" * 30_000 + "\n}",
        "set a=" + "b" * 4000 + "\nmenuentry x {\nlinux /x" + " $a" * 20_000 + "\n}",
    ],
    ids=["line", "quotes", "braces", "variables", "words"],
)
def test_a_text_that_is_made_to_be_slow_is_read_at_once(text: str) -> None:
    began = time.process_time()
    entry = bootloader.grub(text)
    assert time.process_time() - began < 5
    assert entry is None or len(entry.options) < 1 << 18
