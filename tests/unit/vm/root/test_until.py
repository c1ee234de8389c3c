# SPDX-License-Identifier: GPL-2.0-or-later
"""When a third-party system's recording ends, look by look; and what a look reads."""

from __future__ import annotations

import os
from pathlib import Path

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
def test_what_the_user_says_reaches_the_guest(words: str, expected: str) -> None:
    found = foreign_initrd.parse_until(words)
    assert found.words == expected
    assert until.parse(found.words.split()) == StopCondition(found.kind, found.seconds)


@pytest.mark.parametrize("words", ["", "run", "quiet:", "quiet:0", "quiet:x", "text:", "text:a\nb"])
def test_what_is_no_end_is_refused(words: str) -> None:
    with pytest.raises(UsageError, match="running, quiet, quiet:SECONDS, text:TEXT"):
        foreign_initrd.parse_until(words)


def test_what_happens_changes_the_look(tmp_path: Path) -> None:
    (tmp_path / "1").mkdir()
    (tmp_path / "1/root").mkdir()
    (tmp_path / "uptime").write_text(f"100.5 {(os.cpu_count() or 1) * 50}.00\n")
    profile, modules = tmp_path / "kprobe_profile", tmp_path / "modules"
    profile.write_text("  virtio_dev_probe_3   1   0\n")
    modules.write_text("virtio 16384 1 virtio_net, Live 0x0000000000000000\n")
    guest = until.Guest(tmp_path, tmp_path)
    first = guest.look(False)
    assert (first.in_initrd, first.idle) == (True, 50)
    assert guest.look(False).activity == first.activity
    modules.write_text("virtio 16384 2 virtio_net,virtio_blk, Live 0x0000000000000000\n")
    assert guest.look(False).activity == first.activity  # a use count is not activity
    profile.write_text("  virtio_dev_probe_3   2   0\n")
    (tmp_path / "tty/driver").mkdir(parents=True)
    (tmp_path / "tty/driver/serial").write_text(
        "serinfo:1.0 driver revision:\n"
        "0: uart:16550A port:000003F8 irq:4 tx:21 rx:0 RTS|CTS|DTR|DSR|CD\n"
        "1: uart:16550A port:000002F8 irq:3 tx:9 rx:0 RTS|CTS|DTR|DSR|CD\n"
    )
    assert (first.printed, guest.look(False).printed) == ("", "tx:21")
    second = guest.look(True)
    assert (second.activity != first.activity, second.asked) == (True, True)
    modules.write_text("virtio 16384 0 - Live 0x0\nvirtio_blk 16384 0 - Live 0x0\n")
    assert guest.look(False).activity != second.activity


def test_a_module_that_is_still_in_its_init(tmp_path: Path) -> None:
    modules = tmp_path / "modules"
    modules.write_text("a 1 0 - Live 0x0\nkvm_amd 1 0 - Loading 0x0\n")
    guest = until.Guest(tmp_path, tmp_path)
    assert guest.is_loading()
    modules.write_text("a 1 0 - Live 0x0\nkvm_amd 1 0 - Live 0x0\n")
    assert not guest.is_loading()
    guest.settle()
