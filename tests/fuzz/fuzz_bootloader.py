# SPDX-License-Identifier: GPL-2.0-or-later
"""A grub.cfg and its grubenv, or a loader's entries; separated by a line of =====."""

from __future__ import annotations

from tests.fuzz import mutations
from virtio_trace.vm.disk import bootloader

MUTATE = mutations.lines
WORDS = (
    b"menuentry 'x' --id y {\n", b"submenu 'x' {\n", b"}\n", b"linux /vmlinuz ",
    b"initrd /initrd\n",
    b"set default=", b"${saved_entry}", b"$x", b">", b"=====\n", b"version ", b"default ",
    b"options ",
    b"title ", "²".encode(), b"9" * 5000, b"submenu x {\n" * 400, b"0>" * 500, b"\\\n", b"'", b'"',
)  # fmt: skip


def one(data: bytes) -> None:
    text, _, more = data.decode("utf-8", "replace").partition("=====\n")
    bootloader.grub(text, more)
    files = {f"{number}-{one[:8]}.conf": one for number, one in enumerate(text.split("\n\n"))}
    bootloader.bls(files, more)
    bootloader.version_key(text)
