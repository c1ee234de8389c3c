# SPDX-License-Identifier: GPL-2.0-or-later
"""Names in the text of /proc/kallsyms, however they begin and end."""

from __future__ import annotations

import itertools

from virtio_trace.kernel.running.proc_kallsyms import Addresses

NAMES = ["vp", "vp_a", "vp_ab", "vp_b", "v", "x.y", "register_it", "registered", "é"]


def _text(names: list[str]) -> bytes:
    lines = (f"{1 + at:016x} t {name}\n" for at, name in enumerate(names))
    return "".join(lines).encode()


def test_names_with_common_beginnings_are_told_apart() -> None:
    found = Addresses(_text(NAMES))
    for count in (1, 2, 3):
        for asked in itertools.permutations(NAMES, count):
            assert found.functions(asked) == {
                name: [(None, 1 + NAMES.index(name))] for name in asked
            }


def test_a_name_that_only_begins_or_ends_alike_is_not_found() -> None:
    asked = ["vp_abc", "xp_a", "xxy", "x", "registe", "_b"]
    assert Addresses(_text(NAMES)).functions(asked) == {name: [] for name in asked}


def test_initcalls_are_whole_names() -> None:
    good = "__initcall__kmod_virtio_net__350_4567_virtio_net_driver_init6"
    names = [good, f"x{good}", f"{good}.cold", "__initcall__kmod_", f"{good}\t[x]"]
    assert Addresses(_text(names)).initcalls == (good,)
