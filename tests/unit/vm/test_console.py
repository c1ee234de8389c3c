# SPDX-License-Identifier: GPL-2.0-or-later
"""What real consoles give as a reason, and whether their guests wait for a person."""

from __future__ import annotations

import time

import pytest

from tests.unit.vm import consoles
from virtio_trace.vm import console
from virtio_trace.vm.qemu.channel import ConsoleTail
from virtio_trace.vm.root.until import StopReason

SHELL = StopReason(False, "a maintenance shell waits on the console")
INITRD_SHELL = StopReason(False, "the initrd's shell waits on the console")


def fed(data: bytes, size: int = 7) -> ConsoleTail:
    """A console that printed DATA, SIZE bytes at a time."""
    tail = ConsoleTail()
    for start in range(0, len(data), size):
        tail.feed(data[start : start + size])
    return tail


@pytest.mark.parametrize(
    ("data", "causes", "standstill"),
    [
        (
            consoles.ALERT,
            [
                "the initrd waited for UUID=00000000-1111-2222-3333-444444444444, which does not "
                "exist"
            ],
            INITRD_SHELL,
        ),
        (consoles.NO_ROOT, ["the initrd said: No root device specified"], INITRD_SHELL),
        (
            consoles.EMERGENCY,
            ["sulogin said: Cannot open access to console, the root account is locked"],
            SHELL,
        ),
        (
            consoles.TIMED_OUT,
            [
                "systemd said: Timed out waiting for device dev-d…pe.device - "
                "/dev/disk/by-uuid/nope",
                "sulogin said: Cannot open access to console, the root account is locked",
            ],
            SHELL,
        ),
        (
            consoles.JOBS,
            [
                r"systemd waits: Job dev-disk-by\x2duuid-no…ice/start running (15s / 1min 30s)",
            ],
            None,
        ),
        (
            consoles.PANIC,
            [
                'the kernel said: Cannot open root device "vda1" or unknown-block(0,0): error -6',
                "the kernel panicked: VFS: Unable to mount root fs on unknown-block(0,0)",
            ],
            None,
        ),
        (
            consoles.DRACUT,
            [
                "dracut said: Could not boot",
                "the initrd waited for /dev/disk/by-uuid/nope, which does not exist",
            ],
            SHELL,
        ),
        (
            consoles.DRACUT_NO_ROOT,
            ["systemd said: Failed to start initrd-switch-root.service - Switch Root"],
            SHELL,
        ),
        (
            consoles.INSTALLER,
            [],
            StopReason(True, "Debian's installer asks: Select a language"),
        ),
    ],
    ids=[
        "alert",
        "no root",
        "emergency",
        "timed out",
        "jobs",
        "panic",
        "dracut",
        "dracut, no root",
        "installer",
    ],
)
@pytest.mark.parametrize("size", [7, 1 << 16])
def test_real_consoles(
    data: bytes, causes: list[str], standstill: StopReason | None, size: int
) -> None:
    tail = fed(data, size)
    assert tail.causes() == causes
    assert tail.standstill() == standstill


def take(*lines: str) -> list[str]:
    """The causes in LINES."""
    found = console.Causes()
    for line in lines:
        found.take(line)
    return found.sentences()


@pytest.mark.parametrize(
    ("line", "cause"),
    [
        (
            "[***   ] A start job is running for /dev/vdb1 (5s / 1min 30s)",
            "systemd waits: A start job is running for /dev/vdb1 (5s / 1min 30s)",
        ),
        (
            "[   12.345678] systemd[1]: Failed to start Switch Root.",
            "systemd said: Failed to start Switch Root",
        ),
        (
            "/dev/vda1: UNEXPECTED INCONSISTENCY; RUN fsck MANUALLY.",
            "fsck said: /dev/vda1: UNEXPECTED INCONSISTENCY; RUN fsck MANUALLY",
        ),
        (
            "dracut: FATAL: No or empty root= argument",
            "dracut said: FATAL: No or empty root= argument",
        ),
    ],
)
def test_other_words(line: str, cause: str) -> None:
    assert take("before", line, "after") == [cause]


def test_a_job_that_ended_is_not_waited_for() -> None:
    job = "[***   ] A start job is running for /dev/vdb1 (5s / 1min 30s)"
    assert take(job, *["[  OK  ] Started x.service."] * 10)
    assert take(job, *["[  OK  ] Started x.service."] * 11) == []
    assert take(job, "[  OK  ] Found device dev-vdb1.device - /dev/vdb1.") == []
    # The kernel may print at any time.
    assert take(job, *["[   31.758444] input: Power Button"] * 50)


def test_units_that_failed_take_no_others_place() -> None:
    failed = [f"[FAILED] Failed to start {n}.service." for n in range(50)]
    assert take(*failed, "ALERT!  /dev/x does not exist.  Dropping to a shell!") == [
        "the initrd waited for /dev/x, which does not exist",
        *(f"systemd said: Failed to start {n}.service" for n in range(3)),
    ]
    asked = take(*(f"ALERT!  /dev/{n} does not exist." for n in range(100)))
    assert len(asked) == 6


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        (["Give root password for maintenance", "(or press Control-D to continue): "], SHELL),
        (["Press Enter for maintenance", "(or press Control-D to continue): "], SHELL),
        (["(initramfs) ", "[   99.000000] random: crng init done"], INITRD_SHELL),
        (["(initramfs) exit", "Welcome to Debian!", *["x"] * 9], None),
        (["You are in emergency mode.", "[  OK  ] Reached target multi-user.target."], None),
        (["Press Enter for maintenance", "guest login: "], None),
        (["guest login: "], None),
        (["", "Debian GNU/Linux 12 guest ttyS0", "", "root@guest:~# "], None),
        ([], None),
    ],
)
def test_who_waits_for_a_person(lines: list[str], reason: StopReason | None) -> None:
    assert console.standstill(lines) == reason


def test_a_login_banner_is_no_installer() -> None:
    assert console.standstill([], b"[!!] Select a language") is None
    assert console.standstill([], b"<Tab> completes") is None


def test_the_lines_that_are_shown_have_no_control_sequences() -> None:
    for name, data in vars(consoles).items():
        if name.isupper():
            assert not any("\x1b" in line for line in fed(data).lines()), name
    assert (
        fed(consoles.JOBS).lines()
        == [r"[  *** ] (2 of 2) Job dev-disk-by\x2duuid-no…ice/start running (15s / 1min 30s)"]
        or len(fed(consoles.JOBS).lines()) == 1
    )


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("root=/dev/vda ro", True), ("ro boot=live quiet", True), ("ro quiet", False),
        ("ro xroot=/dev/vda", False), ("root= ro", False),
    ],
)  # fmt: skip
def test_whether_a_command_line_names_the_root(line: str, expected: bool) -> None:
    assert console.has_root(line) is expected


def test_a_flood_without_newlines_takes_linear_time() -> None:
    began = time.process_time()
    tail = fed(b"[!!] \x1b[1;1H   RUN fsck Please unlock disk" * 20_000, 65536)
    tail.standstill()
    assert time.process_time() - began < 5
