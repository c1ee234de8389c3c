# SPDX-License-Identifier: GPL-2.0-or-later
"""What a matrix prints and writes, and how many guests it starts at once."""

from __future__ import annotations

import io
import os
import re
import socket
from pathlib import Path

import pytest
from junitparser import JUnitXml

from tests.unit.matrix import plans
from virtio_trace.cli.main import run
from virtio_trace.cli.matrix.progress import MatrixProgress
from virtio_trace.matrix import campaign, capacity, summary
from virtio_trace.matrix.case import ERROR, FAILED, OK
from virtio_trace.matrix.summary import Summary
from virtio_trace.render.matrix_junit import matrix_junit
from virtio_trace.render.matrix_page import matrix_page
from virtio_trace.render.matrix_text import case_line, summary_lines
from virtio_trace.render.words import plain


@pytest.fixture
def mixed(tmp_path: Path) -> Summary:
    """One failed, one error, one that was retried, one missing."""
    plan = plans.read(tmp_path)
    states = [(OK, 1), (FAILED, 1), (OK, 3), (ERROR, 1), (OK, 1), (OK, 1), (OK, 1)]
    results = {
        case.name: plans.result(case, status, attempts)
        for case, (status, attempts) in zip(plan.cases, states, strict=False)
    }
    names = [case.name for case in plan.cases]
    return summary.summarize(campaign.plan_json(plan, (1, 1)), results, names)


def test_the_table_has_kernels_by_boards(mixed: Summary) -> None:
    lines = list(summary_lines(mixed, None, plain))
    assert [re.split(r"  +", line) for line in lines[:3]] == [
        ["kernel", "default", "net"],
        ["old", "1 of 2 failed", "1 of 2 error, 2 retried"],
        ["new", "2 ok", "ok, 1 missing"],
    ]
    assert lines[4:] == [
        "FAILED old/default/2",
        "  it <did> not",
        "ERROR old/net/2",
        "  it <did> not",
        "MISSING new/net/2",
        "8 cases: 5 ok, 1 failed, 1 error, 1 missing; 2 guests died of emulation and ran again",
    ]
    assert mixed.exit_status == 1


def test_a_line_shows_a_retry(mixed: Summary) -> None:
    assert case_line(mixed.results[0], plain) == (
        "ok      old/default/1  8.0 s  CONFORMS, 3 devices"
    )
    assert case_line(mixed.results[2], plain).endswith(
        "attempt 3: before, the guest died after 1.0 s; before, the guest died after 1.0 s"
    )


def test_junit_is_read_by_another_reader(mixed: Summary, tmp_path: Path) -> None:
    path = tmp_path / "junit.xml"
    with path.open("w", encoding="utf-8") as out:
        matrix_junit(mixed, out)
    (suite,) = JUnitXml.fromfile(str(path))
    assert (suite.tests, suite.failures, suite.errors) == (8, 1, 2)
    cases = {case.name: case for case in suite}
    assert cases["old/default boot 2"].result[0].message == "it <did> not"
    assert "it ran 3 times" in cases["old/net boot 1"].system_out
    assert cases["new/net boot 2"].result[0].message == "there is no result"


def test_the_page_escapes_names_and_links_reports(mixed: Summary) -> None:
    out = io.StringIO()
    matrix_page(mixed, out)
    page = out.getvalue()
    assert "it &lt;did&gt; not" in page
    assert 'href="cases/old/default/1/report.html"' in page
    assert "<script" not in page
    assert not re.search(r'(?:src|href)="(?:[a-z]+:|/)', page)


def test_the_estimate_is_by_what_cases_took(mixed: Summary) -> None:
    progress = MatrixProgress(9, quiet=True)
    assert progress.left_seconds(2) is None
    progress.result(mixed.results[0])
    assert progress.left_seconds(2) == pytest.approx(8.0 * 8 / 2, abs=1)
    assert progress.left_seconds(100) == pytest.approx(8.0 * 8 / 9, abs=1)


@pytest.mark.parametrize(
    ("processors", "memory", "expected"),
    [(8, 100_000, 8), (8, 4000, 2), (1, 100_000, 1), (4, 0, 1)],
)
def test_as_many_guests_as_processors_and_memory_carry(
    processors: int, memory: int, expected: int
) -> None:
    assert capacity.jobs(processors, memory) == expected


def test_this_machine_carries_what_it_may_use() -> None:
    assert 1 <= capacity.jobs() <= len(os.sched_getaffinity(0))


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder: it has a plan, and a folder of a matrix."""
    plans.write(tmp_path)
    (tmp_path / "used").mkdir()
    (tmp_path / "used/plan.json").write_text("{}", "utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


WRONG = [
    (["plan.toml", "extra"], 2, "only merge takes folders"),
    (["merge"], 2, "merge what?"),
    (["merge", "none"], 2, "no matrix was run there"),
    (["none.toml"], 2, "No such file"),
    (["plan.toml", "--shard", "3/2"], 2, "is not I/N"),
    (["plan.toml", "--shard", "0/2"], 2, "is not I/N"),
    (["plan.toml", "--scheduler", "127.0.0.1:1", "--jobs", "2"], 2, "--jobs does not go with"),
    (["plan.toml", "-o", "used"], 2, "used has a matrix"),
    (["merge", "used", "-o", "used"], 2, "used has a matrix"),
]


@pytest.mark.parametrize(("arguments", "status", "words"), WRONG)
def test_arguments_are_checked_before_anything_is_started(
    arguments: list[str],
    status: int,
    words: str,
    place: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(["matrix", *arguments]) == status
    assert words in capsys.readouterr().err
    assert not (place / "matrix-out/plan.json").exists()


def test_without_a_scheduler_nothing_is_begun(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("distributed")
    with socket.socket() as ours:
        ours.bind(("127.0.0.1", 0))  # nobody listens
        address = f"127.0.0.1:{ours.getsockname()[1]}"
        assert run(["matrix", "plan.toml", "--scheduler", address]) == 3
    assert f"the scheduler at {address} cannot be reached" in capsys.readouterr().err
    assert not (place / "matrix-out").exists()
