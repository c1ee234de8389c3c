# SPDX-License-Identifier: GPL-2.0-or-later
"""The import rule of docs/architecture.md: imports go down only, each library in its one place."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

import virtio_trace

PACKAGE = Path(virtio_trace.__file__).resolve().parent
FILES = sorted(PACKAGE.rglob("*.py"))

CORE = {
    "__init__", "errors", "evidence", "legacy", "events", "virtio", "recording", "model", "graph",
    "negotiation", "procedure", "findings", "rules", "unbound", "check", "report", "source",
    "features", "inspection", "aftermath", "reasons", "spec", "spec_rules", "spec_features",
    "spec_page", "attempts", "slots", "timeline", "share", "hostview", "host_rules", "uses",
}  # fmt: skip
MAY_IMPORT = {
    "core": {"core"},
    "kernel": {"core", "kernel"},
    "tracer": {"core", "kernel", "tracer"},
    "vm": {"core", "kernel", "vm"},
    "render": {"core", "render"},
    "cli": {"core", "kernel", "tracer", "vm", "render", "cli"},
}
LIBRARIES = {
    "bcc": {"tracer/bcc.py"},
    "elftools": {"kernel/elf.py"},
    "tabulate": {"render/grid.py"},
}


def _room(relative: Path) -> str:
    if len(relative.parts) > 1:
        return relative.parts[0]
    return "cli" if relative.stem == "__main__" else "core"


def _imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            found.add(str(node.module))
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_go_down_only(path: Path) -> None:
    relative = path.relative_to(PACKAGE)
    room = _room(relative)
    for name in _imports(path):
        parts = name.split(".")
        if parts[0] == "virtio_trace":
            inner = parts[1] if len(parts) > 1 else "__init__"
            if inner in MAY_IMPORT:
                assert inner in MAY_IMPORT[room], f"{relative} imports {name}"
            else:
                assert inner in CORE or inner == "__version__", f"{relative} imports {name}"
        elif parts[0] == "click":
            assert room == "cli", f"{relative} imports click"
        elif parts[0] in LIBRARIES:
            assert relative.as_posix() in LIBRARIES[parts[0]], f"{relative} imports {name}"
        else:
            assert parts[0] in sys.stdlib_module_names, f"{relative} imports {name}"


def test_core_is_all_there_is_at_the_top() -> None:
    top = {path.stem for path in PACKAGE.glob("*.py")} - {"__main__"}
    assert top == CORE


def test_only_cli_prints_or_exits() -> None:
    for path in FILES:
        if _room(path.relative_to(PACKAGE)) == "cli":
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                assert node.func.id not in ("print", "exit", "quit"), f"{path}: {node.func.id}()"
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                assert (node.value.id, node.attr) != ("sys", "exit"), f"{path}: sys.exit"
