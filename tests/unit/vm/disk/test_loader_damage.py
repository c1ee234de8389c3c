# SPDX-License-Identifier: GPL-2.0-or-later
"""Texts that no boot loader wrote; found by tests/fuzz."""

from __future__ import annotations

import pytest

from virtio_trace.vm.disk import bootloader

ENTRY = "menuentry 'x' {\nlinux /vmlinuz\n}\n"
LONG = "9" * 5000


@pytest.mark.parametrize("version", ["²", "6.²", LONG, f"0{LONG}"])
def test_a_version_that_is_no_number(version: str) -> None:
    found = bootloader.bls({"a.conf": f"linux /a\nversion {version}", "b.conf": "linux /b"})
    assert found is not None


def test_versions_of_thousands_of_digits_are_in_order() -> None:
    key = bootloader.version_key
    assert key(f"6.{LONG}") < key(f"6.{LONG}0")
    assert key("6.1.0-9") < key("6.1.0-10") < key("6.1.0-010.1") < key("6.01.0-11")
    assert key("6.0") < key("6.rc1")


@pytest.mark.parametrize("default", ["²", LONG, "0>²", "0>" * 5000, ">" * 5000])
def test_a_default_that_is_no_entry(default: str) -> None:
    found = bootloader.grub(f"set default={default}\n{ENTRY}")
    assert found is not None and found.linux == "/vmlinuz"


def test_submenus_in_submenus() -> None:
    found = bootloader.grub(5000 * "submenu 'x' {\n" + ENTRY + 5000 * "}\n")
    assert found is not None and found.linux == "/vmlinuz"
