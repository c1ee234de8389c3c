# SPDX-License-Identifier: GPL-2.0-or-later
"""Modules that the kernel refuses: the reason has the error and the cause, as the kernel has it."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from tests.vm import broken
from tests.vm.guest import BLK, COMMAND, KERNELS, NET, run_json
from virtio_trace.vm.host import debian
from virtio_trace.vm.host.programs import quiet

_DEVICES = (
    *(*NET, *BLK, "-device", "virtio-rng-pci,addr=04.0"),
    *("-device", "virtio-balloon-pci,addr=05.0"),
)
_INSMOD = """
insmod $(modinfo -n virtio_net)
insmod $(find /lib/modules/ -name virtio_balloon.ko)
"""
"""The first needs net_failover: insmod loads one file only. The second has no alias: depmod could
not read it."""


@dataclass(frozen=True, slots=True)
class Refused:
    """How a boot ended."""

    console: str
    recording: Path

    def reason(self, slot: str) -> str:
        """Why the device has no driver: the only error that check has of it."""
        status, found = run_json("check", self.recording)
        assert status == 1
        errors = [f for f in found["findings"] if f["subject"] == f"0000:00:{slot}"]
        (message,) = (f["message"] for f in errors if f["severity"] in ("error", "warning"))
        status, report = run_json("report", self.recording)
        (device,) = (d for d in report["devices"] if d["address"] == f"0000:00:{slot}")
        assert status == 0 and device["driver"] is None
        assert device["reason"] == message
        return str(message)


def _boot(
    name: str, damage: Mapping[str, broken.Damage], options: tuple[str, ...], folder: Path
) -> Refused:
    folder.mkdir(parents=True)
    kernel = debian.fetch(KERNELS[name], quiet)
    modules = broken.tree(kernel.modules, folder, damage)
    console, recording = folder / "console.txt", folder / "boot.vtr"
    command = [
        *(*COMMAND, "boot", "--kernel", str(kernel.vmlinuz), "--modules", str(modules), "-q"),
        *("--keep-console", str(console), "-o", str(recording), "--timeout", "600"),
        *(*options, "--", *_DEVICES),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stderr
    return Refused(console.read_text("utf-8", errors="replace").replace("\r", ""), recording)


_ENFORCED: tuple[dict[str, broken.Damage], tuple[str, ...]] = (
    {"virtio_net": broken.unsigned, "virtio_blk": broken.altered},
    ("--append", "module.sig_enforce=1"),
)
BOOTS = {
    "damaged": partial(
        _boot,
        "6.1",
        {
            "virtio_blk": broken.altered,
            "virtio-rng": broken.other_magic,
            "virtio_balloon": broken.truncated,
        },
        ("--append", "modprobe.blacklist=virtio_net", "--run", _INSMOD),
    ),
    "enforced": partial(_boot, "6.12", *_ENFORCED),
    "agentless": partial(_boot, "6.12", _ENFORCED[0], (*_ENFORCED[1], "--collector", "ftrace")),
}

Boots = dict[tuple[str, str], Future[Refused]]


@pytest.fixture(scope="module")
def damaged(boots: Boots) -> Refused:
    """6.1, which checks signatures and does not require them."""
    return boots[__name__, "damaged"].result()


@pytest.fixture(scope="module", params=["enforced", "agentless"])
def enforced(request: pytest.FixtureRequest, boots: Boots) -> Refused:
    """6.12, which requires a signature; modprobe is kmod's, then busybox's."""
    return boots[__name__, request.param].result()


def test_a_symbol_of_a_module_that_is_not_loaded(damaged: Refused) -> None:
    reason = damaged.reason("02.0")
    (line, *_) = (x for x in damaged.console.splitlines() if "virtio_net: Unknown symbol" in x)
    assert "the kernel refused to load its module virtio_net (alias virtio:d00000001v*): " in reason
    assert "-2 (ENOENT): " in reason
    assert f'"{line[line.index("virtio_net:") :]}"' in reason
    assert "modprobe.blacklist=virtio_net is on the kernel command line" in reason
    assert "was not loaded" not in reason


@pytest.mark.parametrize("which", ["damaged", "enforced", "agentless"])
def test_a_signature_that_does_not_match(boots: Boots, which: str) -> None:
    """The kernel logs nothing about it; modprobe has the error."""
    reason = boots[__name__, which].result().reason("03.0")
    assert "its module virtio_blk (alias virtio:d00000002v*) could not be loaded: " in reason
    assert "-129 (EKEYREJECTED): modprobe said " in reason
    assert reason.count("Key was rejected by service") == 1


def test_version_magic(damaged: Refused) -> None:
    reason = damaged.reason("04.0")
    assert "the kernel refused to load its module virtio_rng (alias virtio:d00000004v*): " in reason
    (line, *_) = (x for x in damaged.console.splitlines() if "version magic" in x)
    said = line[line.index("virtio_rng:") :]
    assert " XMP " in said
    assert f'-8 (ENOEXEC): "{said}"' in reason


def test_a_truncated_file(damaged: Refused) -> None:
    """The module's file is no evidence of a driver, so whether one would match is unknown."""
    reason = damaged.reason("05.0")
    assert "in a file that could not be read matches it is unknown; the kernel refused " in reason
    assert "that its log does not name, possibly this one: -8 (ENOEXEC): " in reason
    (line, *_) = (x for x in damaged.console.splitlines() if "Invalid ELF" in x)
    assert reason.endswith(f'"{line[line.index("Invalid") :]}"')


def test_an_unsigned_module_where_a_signature_is_required(enforced: Refused) -> None:
    reason = enforced.reason("02.0")
    assert "Loading of unsigned module is rejected" in enforced.console
    assert "its module virtio_net (alias virtio:d00000001v*) could not be loaded: " in reason
    assert "-129 (EKEYREJECTED): modprobe said " in reason
    said = '"Loading of unsigned module is rejected"'
    assert f"the kernel's log, which does not name the module: {said}" in reason
