# SPDX-License-Identifier: GPL-2.0-or-later
"""Third-party guests that wait for a person: a QEMU, played by a script, prints real consoles."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

import pytest

from tests.unit.tracer.session.guest_streams import Sender, task
from tests.unit.vm import consoles
from virtio_trace.cli.boot import executor
from virtio_trace.cli.boot.ending import conclude
from virtio_trace.errors import IncompleteError
from virtio_trace.kernel.files.machine import X86_64
from virtio_trace.vm import boot
from virtio_trace.vm.boot import Listener
from virtio_trace.vm.outcome import Outcome
from virtio_trace.vm.plan import Plan, Settings
from virtio_trace.vm.qemu import channel
from virtio_trace.vm.qemu.process import QemuConfig
from virtio_trace.vm.root import foreign_initrd
from virtio_trace.vm.root.foreign_initrd import ThirdPartySystem
from virtio_trace.vm.root.recorder import ExecutorSetup
from virtio_trace.vm.root.until import StopReason

# It says BEGUN and LOOKS, and END when it is asked.
QEMU = """#!{python}
import os, re, signal, sys
words = " ".join(sys.argv)
fd = {{name: int(re.search(f"id={{name}},fd=([0-9]+)", words)[1])
      for name in ("console", "events", "vt-monitor")}}
os.close(fd["vt-monitor"])
os.write(fd["console"], {console!r})
os.write(fd["events"], {begun!r} + {looks!r})
while b"end" not in os.read(fd["events"], 64):
    pass
os.write(fd["events"], {end!r})
signal.pause()
"""


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channel, "_STANDSTILL_SECONDS", 0.3)
    monkeypatch.setattr(channel, "_LAST_WORDS_SECONDS", 0.1)
    monkeypatch.setattr(channel, "_FINISH_SECONDS", 2.0)


def run(
    folder: Path, console: bytes, until: str, idle: float = 0, options: str = "root=/dev/vda"
) -> tuple[Outcome, Plan]:
    """Boots the played QEMU; it prints CONSOLE. Its executor sees it IDLE seconds in its initrd."""
    fake = folder / X86_64.program
    guest = Sender()
    said = {
        "begun": guest.begin(),
        "looks": guest.look(0, in_initrd=True) + guest.look(idle, in_initrd=True),
        "end": guest.section("end") + guest.encoder.end(),
    }
    fake.write_text(QEMU.format(python=sys.executable, console=console, **said))
    fake.chmod(0o755)
    system = ThirdPartySystem(
        (folder / "initrd",), options, until=foreign_initrd.parse_until(until)
    )
    setup = ExecutorSetup(b"", lambda sink: executor._Sink(task(), sink))
    settings = Settings(timeout=3)
    plan = Plan(folder / "k", None, X86_64, settings, executor=setup, third_party=system)
    config = QemuConfig(plan.vmlinuz, "", "tcg")
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryFile() as initrd:
        patch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
        attempt = boot._Attempt(config, plan, Listener(lambda _line: None), None, None)
        return attempt.run(initrd.fileno()), plan


@pytest.mark.parametrize("until", ["running", "quiet:99", "text:never"])
@pytest.mark.parametrize(
    ("console", "why"),
    [
        (consoles.ALERT, "the initrd's shell waits on the console"),
        (consoles.EMERGENCY, "a maintenance shell waits on the console"),
    ],
)
def test_a_shell_ends_the_boot_and_is_no_success(
    tmp_path: Path, console: bytes, why: str, until: str
) -> None:
    outcome, _plan = run(tmp_path, console, until)
    assert (outcome.end, outcome.stop) == ("done", StopReason(False, why))
    assert outcome.seconds < 3


def test_a_shell_is_no_success_for_a_guest_that_is_quiet(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    outcome, plan = run(tmp_path, consoles.EMERGENCY, "quiet", idle=6)
    assert conclude(outcome, plan) is None
    assert outcome.stop is not None
    assert not outcome.stop.reached
    said = capsys.readouterr().err
    assert "warning: the system did not come up after" in said
    assert "s (tcg): a maintenance shell waits on the console" in said
    assert "sulogin said: Cannot open access to console, the root account is locked" in said
    assert "enough" not in said


def test_the_installer_at_its_question_is_up(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    outcome, plan = run(tmp_path, consoles.INSTALLER, "running", options="")
    assert conclude(outcome, plan) is None
    asks = "Debian's installer asks: Select a language"
    assert outcome.stop == StopReason(True, asks)
    said = capsys.readouterr().err
    assert f"enough after {outcome.seconds:.1f} s (tcg): {asks}\n" in said
    assert "root=" not in said


def test_also_where_the_guest_seems_stuck(tmp_path: Path) -> None:
    outcome, _plan = run(tmp_path, consoles.INSTALLER, "running", idle=61)
    assert outcome.stop is not None
    assert outcome.stop.reached


@pytest.mark.parametrize("idle", [0, 61])
def test_the_installer_has_not_said_another_text(tmp_path: Path, idle: float) -> None:
    outcome, _plan = run(tmp_path, consoles.INSTALLER, "text:login:", idle)
    assert outcome.stop == StopReason(False, "Debian's installer asks: Select a language")


def test_a_text_that_was_printed_is_what_was_waited_for(tmp_path: Path) -> None:
    outcome, _plan = run(tmp_path, consoles.EMERGENCY, "text:Press Enter")
    assert outcome.stop == StopReason(True, "the console said Press Enter")


def test_ten_lines_the_cause_and_the_missing_root(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    console = b"\x1b[31mbefore\x1b[0m \x07\n" * 30 + consoles.NO_ROOT
    outcome, plan = run(tmp_path, console, "running", options="quiet")
    assert conclude(outcome, plan) is None
    said = capsys.readouterr().err.splitlines()
    shown = [line for line in said if line.startswith("  | ")]
    assert len(shown) == 10
    assert shown[0] == r"  | before \x07"
    assert shown[-1] == "  | (initramfs)"
    assert said[10].startswith("virtio-trace: warning: the system did not come up after")
    assert said[11:] == [
        "virtio-trace: the initrd said: No root device specified",
        "virtio-trace: the kernel's command line has no root=: --append root=DEVICE adds it",
    ]


def test_a_job_that_is_pending_when_the_time_is_up(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    console = consoles.JOBS[: consoles.JOBS.rindex(b"\x1bM")]
    outcome, plan = run(tmp_path, console, "running")
    assert outcome.end == "timeout"
    assert isinstance(conclude(outcome, plan), IncompleteError)
    assert "virtio-trace: systemd waits: Job dev-disk-by" in capsys.readouterr().err


def test_a_root_is_not_missed_where_nothing_is_known_to_be_wrong(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    outcome, plan = run(tmp_path, b"Starting system log daemon: syslogd.\n", "running", options="")
    assert isinstance(conclude(outcome, plan), IncompleteError)
    assert "root=" not in capsys.readouterr().err


def test_a_guest_of_ours_that_dies_names_its_panic(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = Plan(tmp_path / "k", tmp_path, X86_64)
    tail = channel.ConsoleTail()
    tail.feed(consoles.PANIC)
    outcome = Outcome("tcg", [], tail=tail.lines(), causes=tail.causes())
    assert isinstance(conclude(outcome, plan), IncompleteError)
    said = capsys.readouterr().err
    assert "virtio-trace: the kernel panicked: VFS: Unable to mount root fs on unknown" in said
    assert "has no root=" not in said
