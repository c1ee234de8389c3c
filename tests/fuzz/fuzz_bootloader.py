# SPDX-License-Identifier: GPL-2.0-or-later
"""A grub.cfg and its grubenv, or a loader's entries; separated by a line of =====."""

from __future__ import annotations

from tests.fuzz import mutations
from virtio_trace.vm.disk import bls, bootloader

MUTATE = mutations.lines
WORDS = (
    b"menuentry 'x' --id y {\n", b"submenu 'x' {\n", b"}\n", b"linux /vmlinuz ",
    b"initrd /initrd\n",
    b"set default=", b"${saved_entry}", b"$x", b">", b"=====\n", b"version ", b"default ",
    b"options ", b"sort-key ", b"machine-id ", b"uki /EFI/Linux/x.efi\n", b"+3-1", b"~", b"^",
    b"title ", "²".encode(), b"9" * 5000, b"submenu x {\n" * 400, b"0>" * 500, b"\\\n", b"'", b'"',
)  # fmt: skip


def one(data: bytes) -> None:
    text, _, more = data.decode("utf-8", "replace").partition("=====\n")
    bootloader.grub(text, more)
    saved = bootloader.variables(more)
    read = (
        bls.type1(f"{at}-{one[:8]}.conf", one, saved) for at, one in enumerate(text.split("\n\n"))
    )
    named = bls.type2(text[:40], "/EFI/Linux/x.efi", {"ID": text[:9], "VERSION_ID": more[:99]})
    assert bls.choose((*filter(None, read), named), more) is not None
    bls.version_key(text)
