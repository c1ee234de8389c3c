# SPDX-License-Identifier: GPL-2.0-or-later
"""fleet summary: every figure equals a plain count of what report and check print."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest

from tests.unit.fleet import plain
from tests.unit.fleet.lakes import GOLDENS, copy, fleet
from tests.unit.surgery import GOLDEN
from virtio_trace.render import fleet_summary, words

Summary = dict[str, Any]


def summary(capsys: pytest.CaptureFixture[str], lake: Path, *words: str) -> Summary:
    assert fleet("summary", lake, "--format", "json", "--top", "1000", *words) == 0
    document: Summary = json.loads(capsys.readouterr().out)
    return document


@pytest.fixture
def found(lake: Path, capsys: pytest.CaptureFixture[str]) -> Summary:
    return summary(capsys, lake)


@pytest.fixture
def boots(recordings: list[Path], capsys: pytest.CaptureFixture[str]) -> list[plain.Boot]:
    return [plain.Boot(path, capsys) for path in recordings]


def test_verdicts_by_kernel(found: Summary, boots: list[plain.Boot]) -> None:
    wanted = plain.kernels(boots)
    assert len(wanted) > 2
    verdicts = "conforms", "deviates", "incomplete"
    for row in found["kernels"]:
        counts = wanted.pop(row["kernel"])
        assert [row[name] for name in verdicts] == [counts[name] for name in verdicts]
        assert row["boots"] == counts.total()
        assert (row["first_seen"], row["last_seen"]) == ("2026-03-01", "2026-04-15")
    assert not wanted
    assert found["boots"]["boots"] == len(boots)
    releases = [row["kernel"] for row in found["kernels"]]
    assert releases[0].startswith("6.1.0")
    assert [name for name in releases if name.startswith("6.12")] == releases[1:]


def test_verdicts_by_type(found: Summary, boots: list[plain.Boot]) -> None:
    wanted = plain.types(boots)
    made = {
        (row["type"], row["kernel"], name): row[name]
        for row in found["types"]
        for name in ("conforms", "deviates", "incomplete")
        if row[name]
    }
    assert made == wanted


def test_failing_steps_are_ranked(found: Summary, boots: list[plain.Boot]) -> None:
    rows = found["failing_steps"]
    made = {
        (row["step"], row["type"]): (row["boots"], row["failed"], row["results"]) for row in rows
    }
    assert made == plain.failing_steps(boots)
    counts = [row["boots"] for row in rows]
    assert counts == sorted(counts, reverse=True)


def test_reasons_are_ranked(found: Summary, boots: list[plain.Boot]) -> None:
    made: dict[tuple[str, str, str], int] = {}
    for row in found["reasons"]:
        key = row["severity"], row["step"], row["type"]
        made[key] = made.get(key, 0) + row["findings"]
        assert "0000:00:" not in row["pattern"]
    assert made == plain.reasons(boots)
    order = [(row["severity"] != "error", -row["boots"]) for row in found["reasons"]]
    assert order == sorted(order)


def test_features_that_differ(found: Summary, boots: list[plain.Boot]) -> None:
    made = {(row["what"], row["type"], row["feature"]): row["kernels"] for row in found["features"]}
    wanted = {
        (what, kind, feature): shares
        for what in ("offered", "driver", "negotiated")
        for (kind, feature), shares in plain.features(boots, what).items()
        if max(shares.values()) - min(shares.values()) >= 0.05
    }
    assert made == wanted
    assert ("driver", "net", "VIRTIO_NET_F_HOST_USO") in made


def test_quantiles_of_phases(found: Summary, boots: list[plain.Boot]) -> None:
    wanted = plain.phases(boots)
    assert len(found["phases"]) == len(wanted) > 10
    for row in found["phases"]:
        times = wanted[row["type"], row["phase"]]
        assert (row["count"], row["max_ns"]) == (len(times), max(times))
        for name, share in (("p50_ns", 0.5), ("p95_ns", 0.95), ("p99_ns", 0.99)):
            assert row[name] == plain.quantile(times, share)


def test_outliers_are_far_above_the_usual(found: Summary, boots: list[plain.Boot]) -> None:
    wanted = 0
    for times in plain.phases(boots).values():
        low, high = (plain.quantile(times, share) for share in (0.25, 0.75))
        wanted += sum(time > high + 3 * (high - low) for time in times)
    assert len(found["outliers"]) == wanted > 0
    ratios = [row["ratio"] for row in found["outliers"]]
    assert ratios == sorted(ratios, reverse=True)
    paths = {str(boot.path) for boot in boots}
    assert all(row["source"] in paths for row in found["outliers"])


@pytest.fixture(scope="module")
def worsened(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Thirty good boots, then thirty of which each third has failures and all are slower."""
    folder = tmp_path_factory.mktemp("worse")
    good, bad = GOLDEN / "debian-6.1.vtr", GOLDEN / "debian-6.1-failures.vtr"
    for number in range(60):
        day = "2026-01-10" if number < 30 else "2026-02-10"
        source = bad if number >= 30 and number % 3 == 0 else good
        copy(source, folder / f"{number}.vtr", number, day)
    assert fleet("import", folder, "-o", folder / "lake") == 0
    return folder / "lake"


def test_what_became_worse_since_a_date(worsened: Path, capsys: pytest.CaptureFixture[str]) -> None:
    worse = summary(capsys, worsened, "--since", "2026-02-01")["worse"]
    assert (worse["boots_before"], worse["boots_since"]) == (30, 30)
    assert (worse["not_conforming_before"], worse["not_conforming_since"]) == (0.0, 0.3333)
    steps = {(row["step"], row["type"]): row for row in worse["steps"]}
    net = steps["bus-probed", "net"]
    assert (net["failed_before"], net["failed_since"], net["before"]) == (0, 10, 0.0)
    assert ("bus-probed", "balloon") not in steps  # no balloon before: nothing to compare
    slower = {(row["type"], row["phase"]) for row in worse["phases"]}
    assert ("net", "register") in slower
    assert fleet("summary", worsened, "--since", "2026-02-01") == 0
    assert "WORSE SINCE 2026-02-01: STEPS\n" in capsys.readouterr().out


def test_nothing_is_worse_in_the_same_boots(lake: Path, capsys: pytest.CaptureFixture[str]) -> None:
    worse = summary(capsys, lake, "--since", "2026-04-01")["worse"]
    assert (worse["boots_before"], worse["boots_since"]) == (2 * len(GOLDENS), len(GOLDENS))
    assert (worse["steps"], worse["phases"]) == ([], [])
    nothing = summary(capsys, lake, "--since", "2020-01-01")["worse"]
    assert (nothing["boots_before"], nothing["steps"]) == (0, [])


def test_what_became_worse_with_a_kernel(lake: Path, capsys: pytest.CaptureFixture[str]) -> None:
    kernel = "6.12.117+deb12-cloud-amd64"
    found = summary(capsys, lake, "--since-kernel", kernel)
    later = [row["boots"] for row in found["kernels"] if row["kernel"].startswith("6.12")]
    assert found["worse"]["boots_since"] == sum(later)
    assert ("transport-probed", "rng") in {
        (row["step"], row["type"]) for row in found["worse"]["steps"]
    }
    assert fleet("summary", lake, "--since-kernel", "5.4") == 2
    assert f"there are: 6.1.0-56-cloud-amd64, {kernel}" in capsys.readouterr().err
    assert fleet("summary", lake, "--since-kernel", kernel, "--since", "2026-01-01") == 2


def test_the_text_has_each_table(lake: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert fleet("summary", lake) == 0
    text = capsys.readouterr().out
    for title in ("KERNELS", "DEVICES BY TYPE", "STEPS THAT FAIL", "REASONS", "OUTLIERS, IN MILLI"):
        assert f"\n{title}" in f"\n{text}"
    assert text.splitlines()[-1].startswith("51 boots from 2026-03-01 to 2026-04-15, 3 kernels: ")


def test_the_text_fits_a_terminal(lake: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert fleet("summary", lake, "--format", "json") == 0
    out = io.StringIO()
    fleet_summary.text(json.loads(capsys.readouterr().out), out, 100, words.plain)
    lines = out.getvalue().splitlines()
    assert "left out for want of room: last_seen, first_seen (COLUMNS=" in out.getvalue()
    assert [line for line in lines if len(line) > 100 and str(lake.parents[1]) not in line] == []
