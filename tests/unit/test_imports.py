# SPDX-License-Identifier: GPL-2.0-or-later
"""The import rule of docs/architecture.md: imports only go down, each library has one user."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

import virtio_trace
from virtio_trace.vm.root import guest_python

PACKAGE = Path(virtio_trace.__file__).resolve().parent
FILES = sorted(PACKAGE.rglob("*.py"))

TOP = {"__init__", "__main__", "bpf_source", "errors"}
"""Files outside the rooms. The first three belong to no room; ``errors`` is below all rooms."""

BASE = {"__init__", "bpf_source", "errors"}

MAY_IMPORT = {
    "errors": set(),
    "executor": set(),
    "bpf_source": set(),
    "virtio": set(),
    "recording": {"virtio"},
    "graph": {"recording", "virtio"},
    "kernel": {"recording", "virtio"},
    "check": {"graph", "recording", "virtio"},
    "tracer": {"executor", "kernel", "recording", "virtio"},
    "vm": {"executor", "kernel", "recording", "virtio"},
    "matrix": {"report", "vm"},
    "rebind": {"kernel", "recording", "virtio"},
    "fleet": {"check", "recording", "report", "virtio"},
    "report": {"check", "graph", "recording", "virtio"},
    "render": {"check", "fleet", "graph", "kernel", "matrix", "recording", "report", "virtio"},
    "cli": {
        "check", "executor", "fleet", "graph", "kernel", "matrix", "rebind", "recording", "render",
        "report",
        "tracer", "virtio", "vm",
    },
}  # fmt: skip
"""The rooms below each room. A room may always import itself and BASE."""

LIBRARIES = {
    "bcc": {"tracer/bpf/compile.py"},
    "cairosvg": {"render/png.py"},
    "distributed": {"matrix/dask_workers.py"},
    "duckdb": {"fleet/sql.py"},
    "elftools": {"kernel/files/elf_tables.py"},
    "fsspec": {"fleet/remote.py"},
    "ibis": {"fleet/engine.py"},
    "kcidb_io": {"render/kcidb.py"},
    "pyarrow": {"fleet/parquet.py"},
    "pyspark": {"fleet/engine.py"},
    "pefile": {"vm/disk/uki.py"},
    "tabulate": {"render/grid.py"},
}


IN_A_GUEST = {*guest_python.MODULES, "__future__"}
"""All that tracer/executor/ may import: it runs where nothing else of ours is installed. Nothing of
__future__ is left in its byte code."""


def _room(relative: Path) -> str:
    if relative.parts[:2] == ("tracer", "executor"):
        return "executor"
    if len(relative.parts) > 1:
        return relative.parts[0]
    return "cli" if relative.stem == "__main__" else relative.stem


def _imports(path: Path, *, typing: bool = True) -> set[str]:
    """What PATH imports; without what is below ``if TYPE_CHECKING`` unless TYPING."""
    found = set()
    tree = ast.parse(path.read_text(encoding="utf-8"))
    if not typing:
        tree.body = [
            node
            for node in tree.body
            if not (isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING")
        ]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_only_go_down(path: Path) -> None:
    relative = path.relative_to(PACKAGE)
    room = _room(relative)
    for name in _imports(path):
        parts = name.split(".")
        if parts[0] == "virtio_trace":
            inner = parts[1] if len(parts) > 1 else "__init__"
            if parts[1:3] == ["tracer", "executor"]:
                inner = "executor"
            if inner != room and inner not in BASE and inner != "__version__":
                assert inner in MAY_IMPORT[room], f"{relative} imports {name}"
        elif parts[0] == "click":
            assert room == "cli", f"{relative} imports click"
        elif parts[0] in LIBRARIES:
            assert relative.as_posix() in LIBRARIES[parts[0]], f"{relative} imports {name}"
        else:
            assert parts[0] in sys.stdlib_module_names, f"{relative} imports {name}"


def test_what_runs_in_a_guest_needs_little() -> None:
    files = [path for path in FILES if _room(path.relative_to(PACKAGE)) == "executor"]
    assert len(files) > 3
    for path in files:
        for name in _imports(path, typing=False):
            if not name.startswith("virtio_trace.tracer.executor."):
                assert name.split(".")[0] in IN_A_GUEST, f"{path} imports {name}"


def test_every_room_has_a_rule() -> None:
    rooms = {path.relative_to(PACKAGE).parts[0] for path in FILES if path.parent != PACKAGE}
    assert rooms == MAY_IMPORT.keys() - {"errors", "bpf_source", "executor"}
    assert {path.stem for path in PACKAGE.glob("*.py")} == TOP


def _modules() -> dict[str, Path]:
    found = {}
    for path in FILES:
        parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def test_no_two_files_import_each_other() -> None:
    modules = _modules()
    arrows: dict[str, set[str]] = {}
    for module, path in modules.items():
        named = _imports(path)
        found = {name if name in modules else name.rsplit(".", 1)[0] for name in named}
        arrows[module] = {name for name in found if name in modules and name != module}
    left = dict(arrows)
    while left:
        leaves = {name for name, below in left.items() if not below & left.keys()}
        assert leaves, f"a circle of imports in {sorted(left)}"
        left = {name: below for name, below in left.items() if name not in leaves}


def test_no_two_folders_of_a_room_import_each_other() -> None:
    """A room's own files may use its folders, and the other way round."""
    modules = _modules()
    arrows = set()
    for path in FILES:
        folder = path.relative_to(PACKAGE).parent
        for name in _imports(path):
            found = modules.get(name) or modules.get(name.rpartition(".")[0])
            if found is not None:
                other = found.relative_to(PACKAGE).parent
                if len(folder.parts) == len(other.parts) == 2 and folder != other:
                    arrows.add((str(folder), str(other)))
    assert ("vm/qemu", "vm/root") in arrows
    assert [arrow for arrow in arrows if arrow[::-1] in arrows] == []


def test_only_cli_prints_or_exits() -> None:
    for path in FILES:
        if _room(path.relative_to(PACKAGE)) == "cli":
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                assert node.func.id not in ("print", "exit", "quit"), f"{path}: {node.func.id}()"
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                assert (node.value.id, node.attr) != ("sys", "exit"), f"{path}: sys.exit"
