# SPDX-License-Identifier: GPL-2.0-or-later
"""When a third-party system's recording ends, look by look; and the words of --until."""

from __future__ import annotations

import pytest

from virtio_trace.errors import UsageError
from virtio_trace.vm.root import foreign_initrd, until
from virtio_trace.vm.root.until import Look, StopCondition, StopReason


def looks(
    criterion: StopCondition, *given: tuple[float, bool, str, str]
) -> list[tuple[float, StopReason]]:
    """The times at which it was met, with the reasons."""
    found = []
    for now, in_initrd, activity, system in given:
        enough = criterion.met(Look(now, in_initrd, activity, system))
        if enough is not None:
            found.append((now, enough))
    return found


def test_running_waits_for_systemctl() -> None:
    assert looks(
        StopCondition(until.RUNNING),
        (0, True, "a", ""),
        (20, False, "b", "unknown"),
        (40, False, "b", "starting"),
        (60, False, "c", "degraded"),
    ) == [(60, StopReason(True, "systemctl says degraded"))]


def test_running_without_systemd_is_quiet_outside_the_initrd() -> None:
    criterion = StopCondition(until.RUNNING)
    assert not looks(criterion, (0, True, "a", ""), (9, True, "a", ""), (10, False, "b", ""))
    assert not looks(criterion, (14.9, False, "b", ""), (15, False, "c", ""), (19, False, "c", ""))
    ((_now, enough),) = looks(criterion, (20, False, "c", ""))
    assert enough.reached


@pytest.mark.parametrize(
    ("in_initrd", "system", "seconds", "words"),
    [(True, "", 60, "still in the initrd"), (False, "starting", 150, "systemctl says starting")],
)
def test_a_system_that_is_stuck_is_not_waited_for(
    in_initrd: bool, system: str, seconds: int, words: str
) -> None:
    criterion = StopCondition(until.RUNNING)
    assert not looks(
        criterion, (5, in_initrd, "a", system), (seconds + 4.9, in_initrd, "a", system)
    )
    ((_now, enough),) = looks(criterion, (seconds + 5, in_initrd, "a", system))
    assert (enough.reached, words in enough.why) == (False, True)


def test_an_emergency_shell_is_not_what_was_waited_for() -> None:
    ((_now, enough),) = looks(StopCondition(until.RUNNING), (9, False, "a", "maintenance"))
    assert enough == StopReason(False, "systemctl says maintenance")


def test_quiet_counts_from_the_last_thing_that_happened() -> None:
    assert looks(
        StopCondition(until.QUIET, 3), (0, True, "a", ""), (2, True, "b", ""),
        (4.9, False, "b", ""), (5, False, "b", ""),
    ) == [(5, StopReason(True, "nothing happened for 3 s"))]  # fmt: skip


@pytest.mark.parametrize("kind", [until.RUNNING, until.QUIET, until.ASKED])
def test_the_host_may_ask_for_the_end_at_any_time(kind: str) -> None:
    criterion = StopCondition(kind)
    assert criterion.met(Look(0, True, "a")) is None
    enough = criterion.met(Look(1, True, "a", asked=True))
    assert enough == StopReason(True, "asked by the host")


@pytest.mark.parametrize(("in_initrd", "seconds"), [(True, 60), (False, 150)])
def test_asked_waits_while_something_happens_or_is_printed(in_initrd: bool, seconds: int) -> None:
    criterion = StopCondition(until.ASKED)

    def met(idle: float, activity: str, printed: str) -> StopReason | None:
        return criterion.met(Look(idle, in_initrd, activity, "running", printed=printed))

    assert met(0, "a", "tx:1") is None
    assert met(seconds - 1, "b", "tx:1") is None
    assert met(2 * seconds - 2, "b", "tx:2") is None
    assert met(3 * seconds - 3, "b", "tx:2") is None
    why = f"nothing happened and nothing was printed for {seconds} s"
    assert met(3 * seconds - 2, "b", "tx:2") == StopReason(False, why)


def test_running_and_quiet_do_not_care_what_is_printed() -> None:
    for criterion in (StopCondition(until.QUIET), StopCondition(until.RUNNING)):
        assert criterion.met(Look(0, False, "a", printed="tx:1")) is None
        enough = criterion.met(Look(5, False, "a", printed="tx:2"))
        assert enough is not None
        assert enough.reached


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("running", "running 5"),
        ("quiet", "quiet 5"),
        ("quiet:0.5", "quiet 0.5"),
        ("text:login: ", "asked 5"),
    ],
)
def test_what_the_user_says_is_in_the_header(words: str, expected: str) -> None:
    assert foreign_initrd.parse_until(words).words == expected


@pytest.mark.parametrize("words", ["", "run", "quiet:", "quiet:0", "quiet:x", "text:", "text:a\nb"])
def test_what_is_no_end_is_refused(words: str) -> None:
    with pytest.raises(UsageError, match="running, quiet, quiet:SECONDS, text:TEXT"):
        foreign_initrd.parse_until(words)
