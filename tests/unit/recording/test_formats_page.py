# SPDX-License-Identifier: GPL-2.0-or-later
"""docs/formats.md names every member of a recording."""

from __future__ import annotations

import ast
import dataclasses
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from virtio_trace.recording import (
    bus_state,
    events,
    evidence,
    header,
    host_view,
    machine_state,
    probe_state,
    trailer,
)

SCHEMA = (
    bus_state, events, evidence, header, host_view, machine_state, probe_state, trailer,
)  # fmt: skip

PAGE = Path(__file__).parents[3] / "docs/formats.md"


def members(module: ModuleType) -> Iterator[str]:
    """The keys of MODULE's objects in the file: those that to_json names; where it names none, the
    fields of the dataclass (dataclasses.asdict)."""
    assert module.__file__ is not None
    for node in ast.parse(Path(module.__file__).read_text("utf-8")).body:
        found = getattr(module, getattr(node, "name", ""), None)
        if not isinstance(node, ast.ClassDef) or not dataclasses.is_dataclass(found):
            continue
        if isinstance(found, type) and "to_json" in vars(found):
            writer = next(
                one
                for one in node.body
                if isinstance(one, ast.FunctionDef) and one.name == "to_json"
            )
            keys = (
                key for one in ast.walk(writer) if isinstance(one, ast.Dict) for key in one.keys
            )
            named = [key.value for key in keys if isinstance(key, ast.Constant)]
            if named:
                yield from map(str, named)
                continue
        yield from (each.name for each in dataclasses.fields(found))


@pytest.mark.parametrize("module", SCHEMA, ids=lambda module: module.__name__.rpartition(".")[2])
def test_every_member_is_named(module: ModuleType) -> None:
    text = PAGE.read_text("utf-8").partition("\n## A recording, and ")[2]
    assert text
    known = set(re.findall(r"`(\w+)`", text)) | set(re.findall(r'"(\w+)":', text))
    found = list(members(module))
    assert found
    assert [name for name in found if name not in known] == []
