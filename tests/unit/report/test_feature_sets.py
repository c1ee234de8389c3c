# SPDX-License-Identifier: GPL-2.0-or-later
"""What became of each feature is one rule: the tables and the page say the same."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.unit.surgery import GOLDEN
from virtio_trace.graph import builder
from virtio_trace.recording import reader
from virtio_trace.render import report_features
from virtio_trace.render.page import features as page
from virtio_trace.render.words import plain
from virtio_trace.report import feature_sets as fs
from virtio_trace.report import summary

DEVICE = {
    "name": "virtio0", "address": "0000:00:05.0", "type": "balloon", "id": 5, "in_sysfs": None,
}  # fmt: skip


def bindings(name: str) -> list[dict[str, Any]]:
    with (GOLDEN / f"{name}.vtr").open("rb") as lines:
        found = summary.summarize(builder.build(reader.read(lines, name)))["bindings"]
    assert isinstance(found, list)
    return found


def test_a_refused_balloon() -> None:
    (one,) = (b for b in bindings("debian-6.1-failures") if b["driver"] == "virtio_balloon")
    sets = fs.FeatureSets(one)
    assert sets.those(fs.MISSING) == ["VIRTIO_F_ACCESS_PLATFORM"]
    assert sets.those(fs.GIVEN_UP) == [
        "VIRTIO_BALLOON_F_PAGE_POISON",
        "VIRTIO_RING_F_INDIRECT_DESC",
    ]
    assert "VIRTIO_BALLOON_F_STATS_VQ" in sets.those(fs.TAKEN) and not sets.is_negotiated
    assert sets.those(fs.NOT_WANTED) == []


@pytest.mark.parametrize("path", sorted(GOLDEN.glob("*.vtr")), ids=lambda path: path.stem)
def test_the_page_and_the_tables_agree(path: Any) -> None:
    for one in bindings(path.stem):
        device = DEVICE | {"id": None}
        text = list(report_features.lines(device, one, None, plain, True))
        rows = re.findall(r"<tr>(.*?)</tr>", str(page.block(one, device)))
        shown = {
            cells[0]: cells[1:4]
            for row in rows
            if "<td" in row
            and len(cells := re.findall(r"<t[dh][^>]*>(?:<[^>]*>)*([^<]*)", row)) > 3
        }
        assert shown or not fs.FeatureSets(one).offered
        for name, (offered, wanted, last) in shown.items():
            (line,) = (line for line in text if f" {name} " in line)
            its = re.split(" {2,}", line.strip().replace("written, refused", "yes"))
            assert its[2] == {"\u2013": "-"}.get(offered, offered)
            assert (wanted == "core") == (" core " in line)
            assert (last == "missing") == ("MISSING" in line)
            assert (last == "yes") == (its[-1] == "yes")


def test_what_is_unknown_is_not_called_unwanted() -> None:
    (one,) = (b for b in bindings("debian-6.1-failures") if b["driver"] == "virtio_balloon")
    one["features"] = {**one["features"], "driver": None}
    sets = fs.FeatureSets(one)
    assert sets.those(fs.NOT_WANTED) == []
    assert sets.those(fs.NOT_TAKEN) == ["VIRTIO_BALLOON_F_PAGE_POISON"]
    assert "  not taken    PAGE_POISON" in report_features.lines(DEVICE, one, None, plain, False)
    assert "not in the driver" not in str(page.block(one, DEVICE))
