# SPDX-License-Identifier: GPL-2.0-or-later
"""The folder of a matrix: a case is done or not; shards are merged without loss or double."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest

from tests.unit.matrix import plans
from virtio_trace.errors import BadInputError, UsageError, VirtioTraceError
from virtio_trace.matrix import campaign, summary
from virtio_trace.matrix.case import ERROR
from virtio_trace.matrix.folder import MatrixFolder, opened
from virtio_trace.matrix.merge import merge
from virtio_trace.matrix.plan import Plan


def _shard(folder: Path, plan: Plan, part: tuple[int, int]) -> MatrixFolder:
    """A shard whose cases are all done."""
    with opened(folder) as found:
        found.write_plan(campaign.plan_json(plan, part))
        for case in campaign.shard(plan.cases, part):
            name = case.name.encode()
            found.finish(plans.result(case), {"recording.vtr": name, "attempt-1/console.txt": b""})
    return found


def test_shards_are_merged(tmp_path: Path) -> None:
    plan = plans.read(tmp_path)
    shards = [_shard(tmp_path / str(number), plan, (number, 3)) for number in (1, 2, 3)]
    with opened(tmp_path / "all") as whole:
        results = merge(shards, whole)
    names = [case.name for case in plan.cases]
    assert list(results) == names
    assert summary.summarize(whole.plan(), results, names).exit_status == 0
    for name in names:
        assert (whole.case(name) / "recording.vtr").read_text("utf-8") == name
        assert (whole.case(name) / "attempt-1/console.txt").exists()


def test_a_missing_shard_is_not_passed(tmp_path: Path) -> None:
    plan = plans.read(tmp_path)
    with opened(tmp_path / "all") as whole:
        results = merge([_shard(tmp_path / "1", plan, (1, 2))], whole)
    found = summary.summarize(whole.plan(), results, whole.plan()["cases"])
    assert found.missing == [case.name for case in campaign.shard(plan.cases, (2, 2))]
    assert found.exit_status == 4


def test_a_case_in_two_shards_is_an_error(tmp_path: Path) -> None:
    plan = plans.read(tmp_path)
    shards = [_shard(tmp_path / name, plan, (1, 2)) for name in ("a", "b")]
    with opened(tmp_path / "all") as whole, pytest.raises(UsageError, match="old/default/1 is in"):
        merge(shards, whole)


def test_shards_of_two_plans_are_an_error(tmp_path: Path) -> None:
    other = plans.read(tmp_path, plans.SMALL + "timeout = 5\n")
    shards = [
        _shard(tmp_path / "1", plans.read(tmp_path), (1, 2)),
        _shard(tmp_path / "2", other, (2, 2)),
    ]
    with opened(tmp_path / "all") as whole, pytest.raises(UsageError, match="different plans"):
        merge(shards, whole)


def test_a_shard_from_elsewhere_cannot_name_files_outside(tmp_path: Path) -> None:
    plan = plans.read(tmp_path)
    shard = _shard(tmp_path / "1", plan, (1, 1))
    raw = json.loads((shard.path / "plan.json").read_text("utf-8"))
    raw["cases"] = {"../../x/1": "0"}
    (shard.path / "plan.json").write_text(json.dumps(raw), "utf-8")
    with opened(tmp_path / "all") as whole, pytest.raises(BadInputError):
        merge([shard], whole)
    link = shard.case(plan.cases[0].name) / "secret"
    link.symlink_to("/etc/passwd")
    (shard.path / "plan.json").unlink()
    shard.write_plan(campaign.plan_json(plan, (1, 1)))
    with opened(tmp_path / "all") as whole:
        merge([shard], whole)
    assert not (whole.case(plan.cases[0].name) / "secret").exists()


def test_a_worker_cannot_write_outside_of_its_case(tmp_path: Path) -> None:
    case = plans.read(tmp_path).cases[0]
    with opened(tmp_path / "out") as folder, pytest.raises(BadInputError, match="a worker sent"):
        folder.finish(plans.result(case), {"../../../../x": b""})
    assert not (tmp_path / "x").exists()


def test_what_is_half_done_is_not_done(tmp_path: Path) -> None:
    case = plans.read(tmp_path).cases[0]
    with opened(tmp_path / "out") as folder:
        part = folder.begin(case.name)
        (part / "recording.vtr").touch()
        assert folder.result(case.name) is None
        folder.sweep()
        assert not part.exists()


def test_sockets_are_not_kept(tmp_path: Path) -> None:
    case = plans.read(tmp_path).cases[0]
    with opened(tmp_path / "out") as folder, socket.socket(socket.AF_UNIX) as ours:
        ours.bind(str(folder.begin(case.name) / "qmp"))
        folder.finish(plans.result(case))
        assert [path.name for path in folder.case(case.name).iterdir()] == ["result.json"]


def test_two_matrices_do_not_share_a_folder(tmp_path: Path) -> None:
    with opened(tmp_path), pytest.raises(UsageError, match="another matrix"), opened(tmp_path):
        pass


def test_resume_keeps_what_still_holds(tmp_path: Path) -> None:
    (tmp_path / "disk").write_bytes(b"a")
    text = plans.SMALL + "[kernel.image]\nimage = 'disk'\n"
    plan = plans.read(tmp_path, text)
    folder = _shard(tmp_path / "out", plan, (1, 1))
    assert len(campaign.kept(folder, plan.cases)) == 12
    folder.finish(plans.result(plan.cases[0], ERROR))
    assert plan.cases[0].name not in campaign.kept(folder, plan.cases)
    (tmp_path / "disk").write_bytes(b"other")
    changed = plans.read(tmp_path, text.replace("vectors=0", "vectors=1"))
    held = campaign.kept(folder, changed.cases)
    assert set(held) == {"old/default/2", "new/default/1", "new/default/2"}


@pytest.mark.parametrize("raw", ["{}", "[]", "x", '{"schema": "virtio-trace/matrix-case/1"}'])
def test_a_damaged_result_is_named(tmp_path: Path, raw: str) -> None:
    case = plans.read(tmp_path).cases[0]
    with opened(tmp_path / "out") as folder:
        folder.finish(plans.result(case))
        path = folder.case(case.name) / "result.json"
        path.write_text(raw, "utf-8")
        with pytest.raises(VirtioTraceError, match=str(path)):
            folder.result(case.name)
