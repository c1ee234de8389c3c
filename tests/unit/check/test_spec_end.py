# SPDX-License-Identifier: GPL-2.0-or-later
"""Profile spec: how an initialisation ends, and values that could not be read."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.unit.check.spec_cuts import (
    CONFORMING,
    NET,
    boot,
    copied,
    errors,
    failures,
    nth,
    status,
    suspended,
    written,
)
from tests.unit.surgery import Line, at, change, golden, judge, remove
from virtio_trace.check.findings import CONFORMS, DEVIATES, INCOMPLETE, WARNING
from virtio_trace.check.profiles import SPEC

LEGACY = "0000:00:04.0"


def reset_last(lines: list[Line], number: int = 0) -> list[Line]:
    """LINES with a reset in place of the write of DRIVER_OK."""
    last = nth(status(15), number, lines)
    return change(lines, last, detail={"status": 0, "features": "0x0"})


ENDS: dict[str, tuple[str, Callable[[], list[Line]]]] = {
    "a reset in place of DRIVER_OK": ("driver-ok", lambda: reset_last(boot())),
    "a reset in place of DRIVER_OK when it is restored": (
        "driver-ok", lambda: reset_last(suspended(), 1)),
    "FAILED with DRIVER_OK": ("failed", lambda: written(boot(), 15, 0x8F)),
    "FAILED with DRIVER_OK when it is restored": (
        "failed",
        lambda: change(suspended(), nth(status(15), 1, suspended()),
                       detail={"status": 0x8F, "features": "0x10130af8024"})),
    "a binding without any of it": (
        "driver-ok",
        lambda: remove(boot(), lambda e: at("reset", NET)(e) or at("set_status", NET)(e))),
    "DRIVER_OK and an error": (
        "driver-ok", lambda: change(boot(), at("virtio_dev_probe", NET, kind="return"), result=-5)),
}  # fmt: skip


@pytest.mark.parametrize("name", ENDS)
def test_what_a_call_returned_is_what_the_status_says(name: str) -> None:
    step, cut = ENDS[name]
    result = judge(cut(), SPEC)
    assert result.verdict == DEVIATES
    assert (step, NET) in errors(result), result.findings
    assert {subject for _, subject in errors(result)} == {NET}
    lines = cut()
    lines[-1]["lost"] = 1
    assert judge(lines, SPEC).verdict == INCOMPLETE


def test_a_restoration_that_gives_up_and_says_so_conforms() -> None:
    lines = suspended()
    lines = change(lines, nth(status(15), 1, lines), detail={"status": 0x8B})
    lines = change(lines, at("virtio_device_restore", NET, kind="return"), result=-22)
    result = judge(lines, SPEC)
    assert result.verdict == CONFORMS, result.findings
    assert ("failed", NET, True) in {(s.id, s.subject, s.ok) for s in result.steps}


def test_a_restoration_that_gives_up_without_a_word_is_a_warning() -> None:
    lines = suspended()
    lines = remove(lines, nth(status(15), 1, lines))
    lines = change(lines, at("virtio_device_restore", NET, kind="return"), result=-22)
    result = judge(lines, SPEC)
    assert {(f.step, f.subject) for f in result.findings if f.severity == WARNING} == {
        ("failed", NET)
    }


def test_features_read_again_after_driver_ok_are_no_step() -> None:
    """3.1.1, step 5, forbids accepting new ones; 2.2 forbids renegotiating without a reset."""
    for lines, address, value in ((boot(), NET, 15), (failures(), LEGACY, 7)):
        again = copied(lines, at("get_features", address), status(value, address))
        assert judge(again, SPEC).verdict == CONFORMS


@pytest.mark.parametrize("name", CONFORMING)
@pytest.mark.parametrize("probe", ["set_status", "get_features"])
@pytest.mark.parametrize("detail", [None, {}])
def test_what_could_not_be_fetched_is_unknown(
    name: str, probe: str, detail: dict[str, str] | None
) -> None:
    """One event at a time: never an error, and never passed."""
    lines = golden(name)
    for event in [e for e in lines if "seq" in e and at(probe)(e)]:
        cut = [
            {**{k: v for k, v in line.items() if k != "detail"}, **({} if detail is None else
             {"detail": detail})} if line is event else line for line in lines
        ]  # fmt: skip
        result = judge(cut, SPEC)
        assert not errors(result), (event, result.findings)
        assert result.verdict == INCOMPLETE, event
        assert errors(judge(cut)) == errors(judge(lines)), event


def test_a_reset_that_could_not_be_fetched_is_a_reset() -> None:
    lines = change(boot(), at("reset"), detail={})
    assert judge(lines, SPEC).verdict == CONFORMS
