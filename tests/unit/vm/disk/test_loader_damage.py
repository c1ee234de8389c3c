# SPDX-License-Identifier: GPL-2.0-or-later
"""Texts that no boot loader wrote; found by tests/fuzz."""

from __future__ import annotations

import pytest

from virtio_trace.vm.disk import bootloader

ENTRY = "menuentry 'x' {\nlinux /vmlinuz\n}\n"
LONG = "9" * 5000


@pytest.mark.parametrize("default", ["²", LONG, "0>²", "0>" * 5000, ">" * 5000])
def test_a_default_that_is_no_entry(default: str) -> None:
    found = bootloader.grub(f"set default={default}\n{ENTRY}")
    assert found is not None and found.linux == "/vmlinuz"


def test_submenus_in_submenus() -> None:
    found = bootloader.grub(5000 * "submenu 'x' {\n" + ENTRY + 5000 * "}\n")
    assert found is not None and found.linux == "/vmlinuz"
