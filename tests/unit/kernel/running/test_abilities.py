# SPDX-License-Identifier: GPL-2.0-or-later
"""What doctor and record say of a machine, on folders that look like /proc and /sys.

tests/vm/test_doctor.py has the answers of real kernels.
"""

from __future__ import annotations

import gzip
import re
import subprocess
import sys
from pathlib import Path

import pytest

from virtio_trace.cli.support.prerequisites import prerequisites, require_tracing
from virtio_trace.errors import CannotTraceError
from virtio_trace.kernel.running.abilities import Abilities, Answer
from virtio_trace.kernel.running.host import HostKernel

ROOT = "Name:\tx\nCapEff:\t000001ffffffffff\n"
NO_KPROBES = "CONFIG_FTRACE=y\nCONFIG_TRACING=y\n# CONFIG_KPROBES is not set\n"
ALL = "CONFIG_FTRACE=y\nCONFIG_TRACING=y\nCONFIG_KPROBES=y\nCONFIG_KPROBE_EVENTS=y\n"


@pytest.fixture
def here(tmp_path: Path) -> HostKernel:
    """Root, on a machine that has nothing mounted."""
    for name in ("proc/self/ns", "proc/sys/kernel", "sys/kernel/tracing", "sys/kernel/security"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "proc/self/status").write_text(ROOT)
    (tmp_path / "proc/sys/kernel/osrelease").write_text("6.1.0-test\n")
    return HostKernel(
        tmp_path / "proc", tmp_path / "sys", tmp_path / "boot", tmp_path / "lib/modules"
    )


def _config(here: HostKernel, text: str) -> None:
    (here.proc / "config.gz").write_bytes(gzip.compress(text.encode()))


def _tracefs(here: HostKernel) -> None:
    (here.sys / "kernel/tracing/events").mkdir()
    (here.sys / "kernel/tracing/kprobe_events").touch()


def _namespace(here: HostKernel, kind: str, number: int) -> None:
    (here.proc / f"self/ns/{kind}").symlink_to(f"{kind}:[{number}]")


def test_kprobes(here: HostKernel) -> None:
    _tracefs(here)
    assert Abilities(here).kprobes() == Answer(True)
    assert Abilities(here).tracefs() == Answer(True)
    assert here.tracefs() == here.sys / "kernel/tracing"


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        (NO_KPROBES, "this kernel is built without CONFIG_KPROBES"),
        ("CONFIG_KPROBES=y\n", "this kernel is built without CONFIG_KPROBE_EVENTS"),
    ],
)
def test_without_kprobes_nothing_that_needs_them_is_yes(
    here: HostKernel, config: str, reason: str
) -> None:
    _config(here, config)
    (here.sys / "kernel/debug/kprobes").mkdir(parents=True)
    (here.sys / "kernel/debug/kprobes/enabled").write_text("1\n")
    abilities = Abilities(here)
    answer = abilities.kprobes()
    assert (answer.ok, answer.reason) == (False, reason)
    assert answer.hint
    for other in (abilities.kprobe_list(), abilities.switched_on()):
        assert (other.ok, other.reason) == (None, "unknown without kprobes")


def test_tracefs_that_is_not_mounted(here: HostKernel) -> None:
    """It is the only thing that is missing: the configuration says that there are kprobes."""
    answer = Abilities(here).tracefs()
    assert (answer.ok, answer.reason) == (False, "tracefs is not mounted")
    assert answer.hint.startswith("mount -t tracefs tracefs ")
    assert Abilities(here).kprobes() == Answer(None, "unknown without tracefs")
    _config(here, ALL)
    again = HostKernel(here.proc, here.sys, here.boot, here.modules)
    assert Abilities(again).kprobes() == Answer(True)
    (here.proc / "self/status").write_text("CapEff:\t0000000000000000\n")
    assert "root" in Abilities(here).tracefs().reason


@pytest.mark.parametrize(
    ("capabilities", "ok"),
    [
        (0, False),
        (1 << 21, True),
        (1 << 38 | 1 << 39 | 1 << 1, True),
        (1 << 38 | 1 << 39, False),
        ((1 << 41) - 1 & ~(1 << 21 | 1 << 38), False),
    ],
)
def test_privileges(here: HostKernel, capabilities: int, ok: bool) -> None:
    (here.proc / "self/status").write_text(f"Name:\tx\nCapEff:\t{capabilities:016x}\n")
    assert Abilities(here).root().ok is ok


def test_lockdown(here: HostKernel) -> None:
    assert here.lockdown() is None
    assert Abilities(here).lockdown() == Answer(True)
    file = here.sys / "kernel/security/lockdown"
    file.write_text("none [integrity] confidentiality\n")
    assert here.lockdown() == "integrity"
    assert Abilities(here).lockdown() == Answer(True, "integrity, which allows kprobes and BPF")
    file.write_text("none integrity [confidentiality]\n")
    assert Abilities(here).lockdown().ok is False


def test_lockdown_is_the_reason_for_an_empty_tracefs(here: HostKernel) -> None:
    """Under confidentiality tracefs can be mounted, but has no files (fs/tracefs/inode.c)."""
    (here.sys / "kernel/security/lockdown").write_text("none integrity [confidentiality]\n")
    abilities = Abilities(here)
    for answer in (abilities.tracefs(), abilities.kprobes()):
        assert answer == abilities.lockdown()
        assert answer.reason.startswith("the kernel is locked down (confidentiality)")
    _name, first = prerequisites(abilities)[0]
    assert first() == abilities.lockdown()
    with pytest.raises(CannotTraceError, match="locked down") as raised:
        require_tracing(here)
    assert raised.value.hint == abilities.lockdown().hint


@pytest.mark.parametrize(
    ("line", "is_locked"),
    [
        ("quiet lockdown=confidentiality ro", True),
        ("lockdown=confidentiality", True),
        ("lockdown=integrity", False),
        ("lockdown=confidentialityx", False),
        ("nolockdown=confidentiality", False),
    ],
)
def test_lockdown_without_securityfs(here: HostKernel, line: str, is_locked: bool) -> None:
    """The kernel's command line explains an empty tracefs. It is no reason to refuse to trace: a
    kernel may be without the lockdown module."""
    (here.proc / "cmdline").write_text(f"{line}\n")
    assert ("locked down" in Abilities(here).tracefs().reason) is is_locked
    assert Abilities(here).lockdown().ok
    (here.sys / "kernel/security/lockdown").write_text("[none] integrity confidentiality\n")
    assert Abilities(here).tracefs().reason == "tracefs is not mounted"


def test_debugfs(here: HostKernel) -> None:
    _tracefs(here)
    answer = Abilities(here).kprobe_list()
    assert (answer.ok, answer.reason) == (False, "debugfs is not mounted")
    assert Abilities(here).switched_on() == Answer(None, "unknown without debugfs")
    (here.sys / "kernel/debug/kprobes").mkdir(parents=True)
    (here.sys / "kernel/debug/kprobes/list").touch()
    switch = here.sys / "kernel/debug/kprobes/enabled"
    assert Abilities(here).switched_on().ok  # lockdown=integrity: it cannot be read
    switch.write_text("0\n")
    assert Abilities(here).switched_on() == Answer(
        False, "kprobes are switched off", f"echo 1 > {switch}"
    )


def test_hidden_addresses(here: HostKernel) -> None:
    assert Abilities(here).addresses() == Answer(True)
    (here.proc / "sys/kernel/kptr_restrict").write_text("1\n")
    assert Abilities(here).addresses() == Answer(True)
    (here.proc / "sys/kernel/kptr_restrict").write_text("2\n")
    answer = Abilities(here).addresses()
    assert (answer.ok, answer.partly, answer.hint) == (
        False, True, "sysctl kernel.kptr_restrict=1",
    )  # fmt: skip


def test_no_container(here: HostKernel) -> None:
    assert Abilities(here).container is None
    _namespace(here, "pid", 4026531836)
    _namespace(here, "user", 4026531837)
    assert Abilities(here).container is None


@pytest.mark.parametrize(
    ("file", "text", "said"),
    [
        (".dockerenv", "", "a Docker container"),
        ("run/.containerenv", "", "a Podman container"),
        ("run/systemd/container", "lxc\n", "an LXC container"),
        ("proc/1/environ", "A=1\0container=systemd-nspawn\0", "a systemd-nspawn container"),
        ("proc/1/environ", "container=new\0", "a container (new)"),
    ],
)
def test_containers(here: HostKernel, file: str, text: str, said: str) -> None:
    path = here.proc.parent / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    abilities = Abilities(here)
    assert abilities.container == said
    assert "-v /lib/modules:/lib/modules:ro" in abilities.modules().hint
    with pytest.raises(CannotTraceError, match=re.escape(f"trace here in {said}: ")):
        require_tracing(here)


def test_a_pid_namespace_is_a_container(here: HostKernel) -> None:
    _namespace(here, "pid", 4026532000)
    assert Abilities(here).container == "a container (a PID namespace)"


def test_root_of_a_user_namespace_is_not_root(here: HostKernel) -> None:
    """All capabilities, and none that counts: bpf(2) asks for them in the first namespace."""
    _namespace(here, "user", 4026532177)
    abilities = Abilities(here)
    assert abilities.container == "a user namespace"
    assert abilities.root().ok is False
    assert abilities.root().reason.startswith("root of a user namespace only")


def test_a_real_user_namespace() -> None:
    doctor = [sys.executable, "-m", "virtio_trace", "doctor"]
    made = ["unshare", "--map-root-user", "--mount"]
    if subprocess.run([*made, "true"], capture_output=True, check=False).returncode:
        pytest.skip("no user namespaces here")
    done = subprocess.run([*made, *doctor], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (3, "")
    assert "  NO   root: root of a user namespace only" in done.stdout
    assert "  ?    BPF programs: unknown without root" in done.stdout
    assert "This machine cannot trace." in done.stdout
