# SPDX-License-Identifier: GPL-2.0-or-later
"""Documentation that must agree with the code."""

from __future__ import annotations

import io
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from tools import lake_tables
from virtio_trace import errors
from virtio_trace.check import linux_steps, spec_steps, verdict
from virtio_trace.check.profiles import LINUX
from virtio_trace.cli.main import COMMANDS
from virtio_trace.cli.support import expected
from virtio_trace.graph import builder
from virtio_trace.recording import reader
from virtio_trace.render import json as render
from virtio_trace.render import report_rows
from virtio_trace.report import feature_sets, summary
from virtio_trace.report.diff.compare import compare

TOP = Path(__file__).resolve().parents[2]


def test_the_command_reference_equals_the_help() -> None:
    made = subprocess.run(
        [sys.executable, TOP / "tools" / "commands.py"], check=True, capture_output=True, text=True
    )
    written = (TOP / "docs" / "commands.md").read_text(encoding="utf-8")
    assert written == made.stdout, "run tools/commands.py > docs/commands.md"


def test_every_command_is_in_the_reference() -> None:
    text = (TOP / "docs" / "commands.md").read_text(encoding="utf-8")
    sections = set(re.findall(r"^## virtio-trace (\w+)$", text, re.MULTILINE))
    assert sections == set(COMMANDS)


def test_the_tables_of_a_lake_are_described() -> None:
    text = (TOP / "docs" / "fleet.md").read_text(encoding="utf-8")
    assert f"\n{lake_tables.page()}" in text, "run python3 -m tools.lake_tables"


def test_every_exit_status_is_in_the_reference() -> None:
    text = (TOP / "docs" / "commands.md").read_text(encoding="utf-8")
    listed = {int(status) for status in re.findall(r"^\| (\d) \|", text, re.MULTILINE)}
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type)]
    assert listed == {0} | {kind.status for kind in kinds if hasattr(kind, "status")}


def test_every_step_is_in_the_procedure() -> None:
    text = (TOP / "docs" / "procedure.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `([\w-]+)` \| ", text, re.MULTILINE)
    every = (*linux_steps.STEPS, *linux_steps.HOST_STEPS, *spec_steps.STEPS)
    assert rows == [step.id for step in every]


def test_the_formats_match_the_output() -> None:
    text = (TOP / "docs" / "formats.md").read_text(encoding="utf-8")
    told = [json.loads(block) for block in re.findall(r"```json\n(.*?)```", text, re.DOTALL)]
    reports, checks, events, hosts = [], [], [], []
    for path in (TOP / "tests" / "golden").glob("*.vtr"):
        with path.open("rb") as lines:
            read = reader.read(lines, path.name)
        found = builder.build(read)
        checks.append(io.StringIO())
        render.check(verdict.check(found), checks[-1])
        reports.append(summary.summarize(found))
        events += [event.to_json() for event in read.events]
        if read.trailer is not None and read.trailer.host is not None:
            hosts.append(read.trailer.host.to_json())
    assert _members(told[0]) == _members(*reports)
    assert _members(told[1]) == _members(*(json.loads(out.getvalue()) for out in checks))
    assert _members(told[2]) == _members(*events)
    assert _members(told[3]) == _members(*hosts)
    diffs = [_diff("debian-6.1", other) for other in ("debian-6.1-failures", "debian-6.1-lossy")]
    assert _members(told[4]) == _members(*diffs)


def _diff(old: str, new: str) -> Any:
    golden = (TOP / "tests" / "golden" / f"{name}.vtr" for name in (old, new))
    shown = [expected.shown_by(str(path), LINUX) for path in golden]
    return compare(shown[0], shown[1]).to_json()


def test_every_column_and_mark_of_the_output_is_explained() -> None:
    text = (TOP / "docs" / "output.md").read_text(encoding="utf-8")
    cells = {
        part.strip().strip("`")
        for row in re.findall(r"^\| (.+?) \|", text, re.MULTILINE)
        for part in row.split(",")
    }
    tables = (report_rows.DEVICES, report_rows.DRIVERS, report_rows.BINDINGS, report_rows.BOOT)
    columns = {name for table in tables for name in table.heading} - {"device"}
    outcomes = {value for name, value in vars(feature_sets).items() if name.isupper()}
    assert columns <= cells
    assert outcomes - {feature_sets.TAKEN} <= cells  # it is called negotiated, or written
    assert {"ok", "FAILED", "?", "before", "-", "negotiated"} <= cells
    assert all(f"`{state}`" in text for state in report_rows.STATES if state != "bound")


def _members(*things: Any, name: str = "") -> set[str]:
    """The names of all members, each prefixed with those of the enclosing objects."""
    found = set()
    for thing in things:
        if isinstance(thing, dict):
            for key, value in thing.items():
                found |= {f"{name}.{key}"} | _members(value, name=f"{name}.{key}")
        elif isinstance(thing, list):
            found |= _members(*thing, name=name)
    return found


def test_the_map_shows_every_file_once() -> None:
    drawn = _drawn((TOP / "docs" / "architecture.md").read_text(encoding="utf-8"))
    there = _files(TOP / "virtio_trace") | _files(TOP / "bpf") | _folders(TOP / "tests")
    twice = sorted({path for path in drawn if drawn.count(path) > 1})
    missing, gone = sorted(there - set(drawn)), sorted(set(drawn) - there)
    told = [f"not in the tree: {path}" for path in missing]
    told += [f"in the tree, but not in the repository: {path}" for path in gone]
    told += [f"in the tree more than once: {path}" for path in twice]
    assert not told, "\n".join(["docs/architecture.md, Every file:", *told])


def test_every_file_in_the_map_has_a_description() -> None:
    drawing = _drawing((TOP / "docs" / "architecture.md").read_text(encoding="utf-8"))
    bare = [line for line in drawing if len(line.split(maxsplit=1)) < 2 and line[-1] != "/"]
    assert not bare


def _drawing(text: str) -> list[str]:
    """The lines of the page's tree."""
    (block,) = re.findall(r"^## Every file$.*?^```\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    return str(block).splitlines()


def _drawn(text: str) -> list[str]:
    """The paths in the page's tree: all files, and the folders in tests/. A level is two spaces."""
    paths, above = [], [""]
    for line in _drawing(text):
        name = line.split()[0]
        level = (len(line) - len(line.lstrip())) // 2
        path = above[level] + name
        above[level + 1 :] = [path]
        if not name.endswith("/") or (name != path and path.startswith("tests/")):
            paths.append(path)
    return paths


def _files(folder: Path) -> set[str]:
    """Every file in FOLDER except __init__.py and __pycache__, relative to TOP."""
    return {
        path.relative_to(TOP).as_posix()
        for path in folder.rglob("*")
        if path.is_file() and path.name != "__init__.py" and "__pycache__" not in path.parts
    }


def _folders(folder: Path) -> set[str]:
    """Every folder in FOLDER that has a file, relative to TOP, with a final slash. The folders of
    tests/fuzz/corpus/ count as one."""
    return {
        f"{above.relative_to(TOP).as_posix()}/"
        for name in _files(folder)
        for above in (TOP / name).parents
        if folder in above.parents and TOP / "tests/fuzz/corpus" not in above.parents
    }


def test_decisions_are_numbered_once_and_linked() -> None:
    pages = sorted((TOP / "docs" / "decisions").glob("*.md"))
    assert [int(page.name[:4]) for page in pages] == list(range(1, len(pages) + 1))
    text = " ".join((TOP / "docs" / "architecture.md").read_text(encoding="utf-8").split())
    for page in pages:
        title = page.read_text(encoding="utf-8").splitlines()[0].removeprefix("# ")
        assert title.startswith(f"{page.name[:4]}: ")
        assert f"[{title}](decisions/{page.name})" in text
        sections = re.findall(r"^## (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
        assert sections == ["Context", "Decision", "Consequences"], page.name


def test_decisions_that_the_code_names_exist() -> None:
    for folder in ("virtio_trace", "bpf"):
        for name in _files(TOP / folder):
            text = (TOP / name).read_text(encoding="utf-8")
            for line in text.splitlines():
                if "docs/decisions/" in line:
                    for number in re.findall(r"\b(\d{4})\b", line.split("docs/decisions/", 1)[1]):
                        assert list((TOP / "docs/decisions").glob(f"{number}-*.md")), name


def test_links_have_a_target() -> None:
    for page in [*TOP.glob("*.md"), *(TOP / "docs").rglob("*.md")]:
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name}: {target}"
