# SPDX-License-Identifier: GPL-2.0-or-later
"""A plan is expanded to cases; what is wrong with one is an error with its line."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.matrix import plans
from virtio_trace.errors import BadInputError, UsageError
from virtio_trace.matrix import campaign, plan
from virtio_trace.matrix.job import job


def test_kernels_by_boards_by_boots(tmp_path: Path) -> None:
    names = [case.name for case in plans.read(tmp_path).cases]
    assert names == [
        f"{kernel}/{board}/{number}"
        for kernel in ("old", "new")
        for board in ("default", "net")
        for number in (1, 2)
    ]


def test_a_case_chooses_and_the_innermost_setting_wins(tmp_path: Path) -> None:
    text = plans.SMALL.replace("[kernel.new]", '[kernel.new]\nappend = "b"\ntimeout = 5') + (
        "append = 'c'\nexpect.verdict = 'DEVIATES'\n[[case]]\nkernels = ['new']\nboots = 1\n"
        "boards = ['net']\nexpect.errors = ['x', 'x']\n"
    )
    (case,) = plans.read(tmp_path, "append = 'a'\n" + text).cases
    assert case.title == "new/net"
    assert (case.settings.append, case.settings.timeout) == ("a b c", 5)
    assert case.settings.expect.verdicts == ("DEVIATES",)
    assert case.settings.expect.errors == ("x",)


def test_a_case_becomes_arguments_of_boot(tmp_path: Path) -> None:
    text = plans.SMALL + "append = '--run=x'\naccel = 'tcg'\nboot_events = false\n"
    made = job(plans.read(tmp_path, text).cases[-1], retries=1, version="1")
    assert made.boot == (
        *("boot", "--debian=linux-image-cloud-amd64/sid", "--append=--run=x", "--timeout=300"),
        *("--accel=tcg", "--collector=auto", "--no-boot-events", "--artifacts", ".", "-q", "--"),
        *("-netdev", "user,id=vt0,restrict=on"),
        *("-device", "virtio-net-pci,netdev=vt0,romfile=,vectors=0"),
    )


def test_no_devices_are_not_the_default_devices(tmp_path: Path) -> None:
    text = plans.SMALL + "\n[board.none]\ndevices = []\n"
    made = job(plans.read(tmp_path, text).cases[-1], retries=1, version="1")
    assert made.boot[-2:] == ("-parallel", "none")


def test_files_are_found_beside_the_plan_wherever_it_is_run(tmp_path: Path) -> None:
    for name in ("bzImage", "initrd", "board.toml"):
        (tmp_path / name).write_text("[board]\nonly = true\n", "utf-8")
    text = (
        "[kernel.mine]\nvmlinuz = 'bzImage'\ninitrd = 'initrd'\nuntil = 'quiet:3'\n"
        "[board.b]\nexpect.board = 'board.toml'\nexpect.strict = true\n"
    )
    (case,) = plans.read(tmp_path, text).cases
    assert case.settings.expect.board == "[board]\nonly = true\n"
    made = job(case, retries=0, version="1").boot
    assert f"--kernel={tmp_path / 'bzImage'}" in made
    assert {"--until=quiet:3", "--board=board.toml", "--strict"} < set(made)


WRONG = [
    ("[kernel.a]\ndebain = 'linux-x'\n[board.b]\n", 2, "unknown key debain"),
    ("[kernel.a]\ndebian = 'linux-x'\n[board.b]\nexpect = {verdikt = 1}\n", 4, "verdikt"),
    ("[kernel.a]\ndebian = 'linux-x'\n[board.b]\n[[case]]\n\nkernels = ['c']\n", 6, "kernel 'c'"),
    ("[kernel.a]\ndebian = 'linux-x'\n[board.b]\n[[case]]\nboards = ['c']\n", 5, "board 'c'"),
    ("[kernel.a]\ndebian = 'a b'\n[board.b]\n", 2, "not a package name"),
    ("[kernel.a]\ndebian = 'linux-x'\nimage = 'x'\n[board.b]\n", 1, "debian, image"),
    ("[kernel.a]\nimage = '../x'\n[board.b]\n", 2, "is not in the plan's folder"),
    ("[kernel.a]\nimage = '/etc/passwd'\n[board.b]\n", 2, "is not in the plan's folder"),
    ("[kernel.a]\nimage = 'link/passwd'\n[board.b]\n", 2, "is not in the plan's folder"),
    ("[kernel.a]\nimage = 'none'\n[board.b]\n", 2, "there is no file"),
    ("[kernel.'../a']\ndebian = 'linux-x'\n[board.b]\n", 1, "cannot be the name"),
    ("[kernel.a]\ndebian = 'linux-x'\n[board.'a/b']\n", 3, "cannot be the name"),
    ("timeout = nan\n[kernel.a]\ndebian = 'linux-x'\n[board.b]\n", 1, "timeout is not seconds"),
    ("boots = true\n[kernel.a]\ndebian = 'linux-x'\n[board.b]\n", 1, "boots is not a number"),
    ("boots = 0\n[kernel.a]\ndebian = 'linux-x'\n[board.b]\n", 1, "boots is not a number"),
    ("qemu = ['-S']\n[kernel.a]\ndebian = 'linux-x'\n[board.b]\n", 1, "QEMU's own options"),
    ("until = 'x'\n[kernel.a]\ndebian = 'linux-x'\n[board.b]\n", 1, "--until 'x'"),
    ("until = 'quiet'\n[kernel.a]\ndebian = 'linux-x'\n[board.b]\n", 1, "does not go with"),
    ("[kernel.a]\ndebian = 'linux-x'\n[board.b]\ndevices = ['e1000']\n", 4, "'e1000'"),
    ("[kernel.a]\ndebian = 'linux-x'\n[board.b]\ndevices = ['virtio-rng-pci,x=/a']\n", 4, "plain"),
    ("[kernel.a]\ndebian = 'linux-x'\n[board.b]\ndevices = ['virtio-blk-pci,drive=a']\n", 4, "set"),
    ("[kernel.a]\ndebian = 'linux-x'\n[board.b]\nexpect.verdict = []\n", 4, "verdict is not"),
    ("[kernel.a]\ndebian = 'linux-x'\n[board.b]\nexpect.board = '../b'\n", 4, "plan's folder"),
    ("[kernel.a]\ndebian = 'linux-x'\n[board.b]\n[[case]]\n[[case]]\n", 5, "in two [[case]]s"),
    ("case = 1\n[kernel.a]\ndebian = 'linux-x'\n[board.b]\n", 1, "case is not an array"),
    ("[kernel.a]\ndebian = 'linux-x'\n[board]\nb = 1\n", 4, "b is not a table"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "line", "words"), WRONG)
def test_each_mistake_has_its_line(tmp_path: Path, text: str, line: int, words: str) -> None:
    (tmp_path / "link").symlink_to("/etc")
    with pytest.raises(BadInputError) as error:
        plans.read(tmp_path, text)
    assert str(error.value).startswith(f"{tmp_path}/plan.toml, line {line}: ")
    assert words in str(error.value)


def test_an_unknown_kernel_lists_those_that_are_known(tmp_path: Path) -> None:
    with pytest.raises(BadInputError) as error:
        plans.read(tmp_path, plans.SMALL + "[[case]]\nkernels = ['older']\n")
    assert error.value.hint == "known: old, new"


def test_a_wrong_board_is_found_before_anything_is_booted(tmp_path: Path) -> None:
    (tmp_path / "b.toml").write_text("[board]\nonly = true\nx = 1\n", "utf-8")
    with pytest.raises(BadInputError, match=r"b\.toml.*3.*x"):
        plans.read(tmp_path, plans.SMALL + "expect.board = 'b.toml'\n")


@pytest.mark.parametrize("raw", [b"a = ", b"\xff", b"a = 1\na = 2", b"a = " + b"[" * 100_000])
def test_what_is_not_toml_is_said(tmp_path: Path, raw: bytes) -> None:
    (tmp_path / "plan.toml").write_bytes(raw)
    with pytest.raises(BadInputError):
        plan.read(tmp_path / "plan.toml")


def test_other_folders_and_qemus_options_must_be_allowed(tmp_path: Path) -> None:
    (tmp_path / "plans").mkdir()
    (tmp_path / "disk").touch()
    text = "qemu = ['-m', '4096']\n[kernel.a]\nimage = '../disk'\n[board.b]\n"
    path = plans.write(tmp_path / "plans", text)
    (case,) = plan.read(path, allow=[tmp_path], trust=True).cases
    assert job(case, retries=0, version="1").boot[-2:] == ("-m", "4096")
    with pytest.raises(UsageError):
        plan.read(path, allow=[tmp_path / "none"], trust=True)


@pytest.mark.parametrize("of", [1, 3, 8, 11])
def test_shards_are_disjoint_and_together_the_plan(tmp_path: Path, of: int) -> None:
    cases = plans.read(tmp_path).cases
    parts = [campaign.shard(cases, (first, of)) for first in range(1, of + 1)]
    names = [case.name for part in parts for case in part]
    assert sorted(names) == sorted(case.name for case in cases)


def test_the_fingerprint_changes_with_what_is_booted_or_expected(tmp_path: Path) -> None:
    more = ("", "timeout = 5\n", "expect.errors = []\n", "append = 'a'\n")
    texts = [plans.SMALL + one for one in more]
    found = {plans.read(tmp_path, text).cases[-1].fingerprint for text in texts}
    assert len(found) == 4
    often = plans.read(tmp_path, plans.SMALL.replace("boots = 2", "boots = 9")).cases[0]
    assert often.fingerprint == plans.read(tmp_path).cases[0].fingerprint
