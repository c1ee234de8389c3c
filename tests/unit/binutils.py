# SPDX-License-Identifier: GPL-2.0-or-later
"""readelf and bpftool on a file: oracles that share no code with virtio-trace."""

from __future__ import annotations

import json
import re
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Where = tuple[str, int]
"""Section and offset."""

_POINTER = ("R_X86_64_64", "R_AARCH64_ABS64")
_CALL = ("R_X86_64_PC32", "R_X86_64_PLT32", "R_AARCH64_JUMP26", "R_AARCH64_CALL26")
_RELA = re.compile(r"^([0-9a-f]{16})  [0-9a-f]{16} (\S+) +[0-9a-f]{16} (\S+) ([+-]) ([0-9a-f]+)$")


def run(*command: str | Path) -> str:
    """The standard output of a command. Raises CalledProcessError if it fails."""
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


@dataclass
class Readelf:
    """A .ko file as ``readelf -SW -sW -rW`` shows it."""

    path: Path
    sections: dict[str, tuple[int, int]] = field(default_factory=dict)
    functions: dict[Where, set[str]] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)
    objects: dict[str, list[tuple[Where, int]]] = field(default_factory=dict)
    pointers: dict[Where, Where] = field(default_factory=dict)
    calls: list[tuple[Where, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        numbers = {}
        for line in run("readelf", "-SW", self.path).splitlines():
            found = re.match(
                r" +\[ *(\d+)\] (\S+) +\S+ +[0-9a-f]{16} ([0-9a-f]+) ([0-9a-f]+)", line
            )
            if found:
                numbers[found[1]] = found[2]
                self.sections[found[2]] = int(found[3], 16), int(found[4], 16)
        places: dict[str, Where] = {}
        for line in run("readelf", "-sW", self.path).splitlines():
            words = line.split()
            if len(words) < 8 or words[6] not in numbers:
                continue
            where = numbers[words[6]], int(words[1], 16)
            places.setdefault(words[7], where)
            if words[3] == "FUNC":
                self.functions.setdefault(where, set()).add(words[7])
                self.sizes[words[7]] = int(words[2], 0)
            elif words[3] == "OBJECT":
                self.objects.setdefault(words[7], []).append((where, int(words[2], 0)))
        section = ""
        for line in run("readelf", "-rW", self.path).splitlines():
            if found := re.match(r"Relocation section '\.rela(\S+)'", line):
                section = found[1]
            elif found := _RELA.match(line):
                addend = int(found[4] + found[5], 16)
                self._relocation((section, int(found[1], 16)), found[2], found[3], addend, places)

    def _relocation(
        self, at: Where, kind: str, name: str, addend: int, places: dict[str, Where]
    ) -> None:
        base = (name, 0) if name in self.sections else places.get(name)
        if kind in _POINTER and base:
            self.pointers[at] = base[0], base[1] + addend
        elif kind in _CALL and base is None:
            self.calls.append((at, name))

    def number(self, at: Where, size: int = 4) -> int:
        """The little-endian unsigned number of SIZE bytes at AT; 0 in .bss."""
        if at[0] == ".bss":
            return 0
        start = self.sections[at[0]][0] + at[1]
        return int.from_bytes(self.path.read_bytes()[start : start + size], "little")


def bpftool(*words: str | Path) -> dict[int, dict[str, Any]]:
    """The output of ``bpftool WORDS``, a BTF dump: entries by type id."""
    done = json.loads(run("bpftool", "-j", *words, "format", "raw"))
    return {entry["id"]: entry for entry in done["types"]}


def members(types: dict[int, dict[str, Any]], name: str) -> dict[str, tuple[int, bool]] | None:
    """(offset in bytes, whether it points to a function) of each member of the first struct NAME,
    including the members of anonymous structs and unions. None if there is no such struct."""
    found = (t for t in types.values() if t["kind"] == "STRUCT" and t["name"] == name)
    entry = next(found, None)
    return None if entry is None else _flat(types, entry, 0)


def _flat(
    types: dict[int, dict[str, Any]], entry: dict[str, Any], start: int
) -> dict[str, tuple[int, bool]]:
    out: dict[str, tuple[int, bool]] = {}
    for member in entry["members"]:
        at = start + member["bits_offset"] // 8
        kind = _bare(types, member["type_id"])
        if member["name"] == "(anon)":
            out |= _flat(types, kind, at)
        else:
            pointed = _bare(types, kind["type_id"]) if kind["kind"] == "PTR" else {}
            out[member["name"]] = at, pointed.get("kind") == "FUNC_PROTO"
    return out


def _bare(types: dict[int, dict[str, Any]], number: int) -> dict[str, Any]:
    entry = types.get(number, {"kind": "VOID"})
    while entry["kind"] in ("TYPEDEF", "CONST", "VOLATILE", "RESTRICT"):
        entry = types.get(entry["type_id"], {"kind": "VOID"})
    return entry
