# SPDX-License-Identifier: GPL-2.0-or-later
"""python3 -m tools.lake_tables: prints the tables of a lake for docs/fleet.md.

A test holds the page to it.
"""

from __future__ import annotations

import click

from virtio_trace.fleet.schema import COMMON, DEVICE, TABLES


def page() -> str:
    """The tables. What several of them have is listed once."""
    parts = [
        _section("Every table begins with", [(one.name, one.kind, one.meaning) for one in COMMON]),
        _section("devices, bindings, features, queues and phases then have", [
            (one.name, one.kind, one.meaning) for one in DEVICE
        ]),
    ]  # fmt: skip
    for table, columns in TABLES.items():
        own = [one for one in columns if one not in (*COMMON, *DEVICE)]
        parts.append(_section(f"`{table}`", [(one.name, one.kind, one.meaning) for one in own]))
    return "\n".join(parts)


def _section(title: str, rows: list[tuple[str, str, str]]) -> str:
    lines = [f"| `{name}` | {kind} | {meaning} |" for name, kind, meaning in rows]
    return "\n".join([f"{title}:", "", "| column | kind | meaning |", "|---|---|---|", *lines, ""])


if __name__ == "__main__":
    click.echo(page(), nl=False)
