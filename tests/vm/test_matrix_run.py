# SPDX-License-Identifier: GPL-2.0-or-later
"""A matrix on this machine: interrupted, resumed, with guests that fail and guests that die; and on
a cluster of which a worker is killed."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path

import pytest
from junitparser import JUnitXml

from tests.cluster import worker_pids
from tests.vm import matrices
from tests.vm.conftest import Started
from tests.vm.guest import KERNELS
from tests.vm.matrices import Matrix

_LOCAL = f"""
accel = "tcg"

[kernel.bookworm]
debian = "{KERNELS["6.1"]}"

[board.good]
expect.board = "good.toml"

[board.other]
devices = ["virtio-net-pci,ctrl_vq=off,addr=02.0"]

[board.dying]
run = "echo c > /proc/sysrq-trigger"
"""
_BOARD = """
[board]
only = true

[[device]]
type = "net"
driver = "virtio_net"

[[device]]
type = "block"

[[device]]
type = "rng"
address = "0000:00:04.0"
"""
_CLUSTER = f"""
boots = 3

[kernel.bookworm]
debian = "{KERNELS["6.1"]}"

[board.default]
"""


def _local(folder: Path) -> Matrix:
    folder.mkdir(parents=True)
    (folder / "good.toml").write_text(_BOARD, "utf-8")
    return matrices.interrupted(_LOCAL, folder, "--jobs", "1", "--retries", "1")


BOOTS = {"local": _local, "cluster": partial(matrices.with_a_death, _CLUSTER)}


@pytest.fixture(scope="module")
def local(boots: Started) -> Matrix:
    found: Matrix = boots[__name__, "local"].result()
    return found


@pytest.fixture(scope="module")
def cluster(boots: Started) -> Matrix:
    found: Matrix = boots[__name__, "cluster"].result()
    return found


def test_ctrl_c_keeps_what_is_done(local: Matrix) -> None:
    assert local.interrupted == 130
    assert local.before[0].startswith("ok      bookworm/good/1 ")
    assert "MISSING bookworm/other/1\n" in local.before
    assert "3 cases: 1 ok, 2 missing\n" in local.before


def test_resume_runs_the_rest_once(local: Matrix) -> None:
    assert "virtio-trace: 1 of 3 cases are done; 2 to run\n" in local.stderr
    assert [line for line in local.case_lines() if "/1" in line][:2] == [
        "bookworm/other/1",
        "bookworm/dying/1",
    ]
    assert list(local.results()) != []
    assert local.status == 1


def test_each_case_is_held_to_what_is_expected(local: Matrix) -> None:
    results = local.results()
    assert {name: result["status"] for name, result in results.items()} == {
        "bookworm/good/1": "ok",
        "bookworm/other/1": "failed",
        "bookworm/dying/1": "error",
    }
    assert results["bookworm/other/1"]["why"][0] == "DEVIATES, expected CONFORMS"
    assert "0000:00:02.0" in results["bookworm/other/1"]["why"][1]


def test_a_board_is_checked(local: Matrix) -> None:
    check = (local.folder / "cases/bookworm/good/1/check.json").read_text("utf-8")
    assert "board-" in check


def test_a_guest_that_died_ran_again_and_both_attempts_are_kept(local: Matrix) -> None:
    attempts = local.results()["bookworm/dying/1"]["attempts"]
    assert [attempt["end"] for attempt in attempts] == ["died", "died"]
    assert all("the guest died after" in attempt["why"] for attempt in attempts)
    folder = local.folder / "cases/bookworm/dying/1"
    for console in (folder / "attempt-1/console.txt", folder / "console.txt"):
        assert "sysrq triggered crash" in console.read_text("utf-8", "replace")
    (line,) = [line for line in local.lines if line.startswith("ERROR   bookworm/dying/1 ")]
    assert "attempt 2: before, the guest died after" in line
    assert local.lines[-1].endswith("; 1 guest died of emulation and ran again")


def test_junit_has_every_case(local: Matrix) -> None:
    (suite,) = JUnitXml.fromfile(str(local.folder / "junit.xml"))
    found = {case.name: [type(one).__name__ for one in case.result] for case in suite}
    assert found == {
        "bookworm/good boot 1": [],
        "bookworm/other boot 1": ["Failure"],
        "bookworm/dying boot 1": ["Error"],
    }


def test_the_overview_links_files_that_exist(local: Matrix) -> None:
    page = (local.folder / "index.html").read_text("ascii")
    links = set(re.findall(r'href="([^"]+)"', page))
    assert "cases/bookworm/good/1/report.html" in links
    assert [link for link in links if not (local.folder / link).is_file()] == []


def test_nothing_is_lost_and_nothing_twice_if_a_worker_is_killed(cluster: Matrix) -> None:
    assert cluster.status == 0, (cluster.lines, cluster.stderr)
    names = [f"bookworm/default/{number}" for number in (1, 2, 3)]
    assert sorted(cluster.case_lines()) == names
    assert sorted(cluster.results()) == names
    assert cluster.lines[-1] == "3 cases: 3 ok"
    recordings = {
        (cluster.folder / "cases" / name / "recording.vtr").read_bytes() for name in names
    }
    assert len(recordings) == 3


def test_its_case_ran_elsewhere_and_its_guest_is_gone(cluster: Matrix) -> None:
    assert cluster.killed
    assert cluster.killed not in worker_pids(cluster.folder)
    assert cluster.orphans == []
