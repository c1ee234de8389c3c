# SPDX-License-Identifier: GPL-2.0-or-later
"""The messages in the code: of errors, warnings and prerequisites, and all other texts."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

HOLE = "\0"
"""Where a message has a name, a path or a number."""

ERRORS = {
    "UsageError", "CannotTraceError", "IncompleteError", "BadInputError", "warn", "Answer",
}  # fmt: skip
_LEAST = 6
"""Letters. A template with fewer has its words from elsewhere."""


def _template(node: ast.expr) -> str | None:
    """The text of NODE, a literal, with HOLE for what is filled in."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        parts = (part.value if isinstance(part, ast.Constant) else HOLE for part in node.values)
        return "".join(map(str, parts))
    return None


def of_errors(folder: Path) -> Iterator[tuple[str, str]]:
    """File and line, and the template, of each message that a person meets."""
    for path in sorted(folder.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call):
                continue
            name = getattr(node.func, "id", getattr(node.func, "attr", ""))
            place = 1 if name == "Answer" else 0
            if name not in ERRORS or len(node.args) <= place:
                continue
            found = _template(node.args[place])
            if found is not None and len(re.findall("[A-Za-z]", found)) >= _LEAST:
                yield f"{path.relative_to(folder.parent)}:{node.lineno}", found


def of_all(folder: Path) -> set[str]:
    """The templates of all texts in the code."""
    nodes = (
        node
        for path in folder.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.expr)
    )
    return {found for node in nodes if (found := _template(node)) is not None}


def matches(listed: str, template: str) -> bool:
    """Whether LISTED is TEMPLATE with any text for each ``…``."""
    parts = [re.escape(part) for part in listed.split("…")]
    return re.fullmatch(".*".join(parts), template, re.DOTALL) is not None
