# SPDX-License-Identifier: GPL-2.0-or-later
"""The mirrors of bpf/events.h and bpf/maps.h against what a compiler makes of those files."""

from __future__ import annotations

import ctypes as ct
import re
import subprocess
from pathlib import Path

import pytest

from virtio_trace.bpf_source import bpf_folder
from virtio_trace.errors import CannotTraceError
from virtio_trace.tracer.bpf import wire
from virtio_trace.tracer.points import shape

HEADER = bpf_folder() / "events.h"


def _compiled(tmp_path: Path, body: str, header: Path = HEADER) -> dict[str, int]:
    """The output of a C program that includes the HEADER and runs BODY: name to number."""
    source = tmp_path / "layout.c"
    source.write_text(
        "#include <stddef.h>\n#include <stdio.h>\n#include <linux/types.h>\n"
        f'#include "{header}"\nint main(void) {{\n{body}\nreturn 0;\n}}\n',
        encoding="utf-8",
    )
    program = tmp_path / "layout"
    subprocess.run(["gcc", "-Wall", "-Werror", "-o", program, source], check=True)
    out = subprocess.run([program], check=True, capture_output=True, text=True).stdout
    return {name: int(number) for name, number in (line.split() for line in out.splitlines())}


@pytest.mark.parametrize("name", sorted(wire.STRUCTS))
def test_layout(name: str, tmp_path: Path) -> None:
    mirror = wire.STRUCTS[name]
    fields = [field[0] for field in mirror._fields_]
    body = f'printf("sizeof %zu\\n", sizeof(struct {name}));\n' + "".join(
        f'printf("{field} %zu\\n", offsetof(struct {name}, {field}));\n'
        f'printf("sizeof.{field} %zu\\n", sizeof(((struct {name} *)0)->{field}));\n'
        for field in fields
    )
    expected = {"sizeof": ct.sizeof(mirror)}
    for field in fields:
        expected[field] = getattr(mirror, field).offset
        expected[f"sizeof.{field}"] = getattr(mirror, field).size
    assert _compiled(tmp_path, body) == expected


def test_no_member_is_missing_from_the_mirror() -> None:
    text = re.sub(r"/\*.*?\*/", "", HEADER.read_text(encoding="utf-8"), flags=re.DOTALL)
    structs = dict(re.findall(r"struct (\w+) \{([^}]*)\};", text))
    assert set(structs) == set(wire.STRUCTS)
    for name, body in structs.items():
        members = re.findall(r"(\w+)(?:\[\w+\])?;", body)
        assert members == [field[0] for field in wire.STRUCTS[name]._fields_]


def number(name: str) -> int:
    """The mirror of the enumerator VT_NAME."""
    mirror = {**vars(wire), **vars(shape)}
    return int(mirror[name])


def test_sizes(tmp_path: Path) -> None:
    names = ("MAX_POINTS", "TABLE_LENGTH")
    body = "".join(f'printf("{name} %d\\n", VT_{name});\n' for name in names)
    assert _compiled(tmp_path, body) == {name: vars(wire)[name] for name in names}


def test_the_table_of_maps(tmp_path: Path) -> None:
    columns = ("type", "key_size", "value_size", "entries")
    numbers = ", ".join(f"(long)({name})" for name in ("number", *columns))
    formats = " ".join(f"{{name}}.{name} %ld\\n" for name in ("number", *columns))
    line = formats.replace("{name}", '" #name "')
    macro = (
        f'#define P(number, name, type, key_size, value_size, entries) printf("{line}", {numbers});'
    )
    body = f"{macro}\nVT_MAPS(P)"
    expected = {
        f"{spec.name}.{column}": getattr(spec, column) for spec in wire.MAPS for column in columns
    }
    expected |= {f"{spec.name}.number": place for place, spec in enumerate(wire.MAPS, 1)}
    assert _compiled(tmp_path, body, bpf_folder() / "maps.h") == expected
    assert wire.map_number("OFFSETS") == expected["OFFSETS.number"]


def test_a_probe_point_too_many_is_refused() -> None:
    wire.require_room(wire.MAX_POINTS - 1)
    with pytest.raises(CannotTraceError, match="room for 256 probe points, this is number 257"):
        wire.require_room(wire.MAX_POINTS)


def test_enumerators(tmp_path: Path) -> None:
    names = re.findall(r"^\tVT_(\w+) = \d+,", HEADER.read_text(encoding="utf-8"), re.MULTILINE)
    body = "".join(f'printf("{name} %d\\n", VT_{name});\n' for name in names)
    assert len(names) > 10
    text = HEADER.read_text(encoding="utf-8")
    kinds = re.findall(r"VT_(\w+) =", text[text.index("enum vt_kind {") : text.index("}")])
    mirror = {name: number(f"KIND_{name}" if name in kinds else name) for name in names}
    assert _compiled(tmp_path, body) == mirror
