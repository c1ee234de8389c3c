# SPDX-License-Identifier: GPL-2.0-or-later
"""QEMU's devices behind expander bridges and on virtio-mmio with ACPI: each is found in the guest.

The oracle is the guest's sysfs, and /proc/iomem for virtio-mmio.
"""

from __future__ import annotations

from concurrent.futures import Future

import pytest

from tests.vm import oracle
from tests.vm.guest import Boot, Guest

_RNG = "virtio-rng-pci"
_Q35 = (
    *("-machine", "q35", "-nic", "none", "-device", f"{_RNG},addr=02.0"),
    *("-device", "pxb-pcie,id=far,bus_nr=128,bus=pcie.0,addr=05.0"),
    *("-device", "pcie-root-port,id=rp1,bus=far,chassis=1,slot=1"),
    *("-device", f"{_RNG},bus=rp1"),
    *("-device", "pxb-pcie,id=farther,bus_nr=192,bus=pcie.0,addr=06.0"),
    *("-device", "pcie-root-port,id=rp2,bus=farther,chassis=2,slot=2"),
    *("-device", f"{_RNG},bus=rp2"),
)
_PC = (
    *("-machine", "pc", "-nic", "none", "-device", f"{_RNG},addr=02.0"),
    *("-device", "pxb,id=far,bus_nr=64,bus=pci.0,addr=06.0", "-device", f"{_RNG},bus=far,addr=3"),
)
_MICROVM = (
    *("-machine", "microvm,acpi=on,rtc=on", "-device", "virtio-rng-device"),
    *("-object", "rng-builtin,id=r", "-device", "virtio-rng-device,rng=r"),
)
_CLOCK = "tsc_early_khz=1000000 lpj=4000000"
"""microvm has no timer by which a kernel under TCG could measure its own."""

_SHOW = oracle.SYSFS + "show_bus final\nat iomem; cat /proc/iomem\n"
GUESTS = {
    "q35": Guest("6.1", _SHOW, _Q35),
    "pc": Guest("6.12", _SHOW, _PC),
    "microvm": Guest("6.1", _SHOW, _MICROVM, append=f"initcall_debug {_CLOCK}"),
    "microvm-ftrace": Guest(
        "6.1", _SHOW, _MICROVM, append=f"initcall_debug {_CLOCK}", collector="ftrace"
    ),
}
DEVICES = {"q35": 3, "pc": 2, "microvm": 2, "microvm-ftrace": 2}


@pytest.mark.parametrize("name", GUESTS)
def test_every_device_of_the_host_is_compared(
    boots: dict[tuple[str, str], Future[Boot]], name: str
) -> None:
    booted = boots[__name__, name].result()
    in_guest = set(oracle.devices(booted.sections["final"]))
    assert len(in_guest) == DEVICES[name]
    status, found = booted.check()
    assert (status, found["verdict"], found["unplaced"]) == (0, "CONFORMS", 0)
    compared = {s["subject"] for s in found["steps"] if s["id"] == "host-status" and s["ok"]}
    assert compared == in_guest
    assert not [f for f in found["findings"] if f["step"].startswith("host")]
    hosts = {device["address"] for device in booted.lines()[-1]["host"]["devices"]}
    if name in ("q35", "pc"):
        assert hosts == in_guest
    else:
        bases = {f"{int(where.split('-')[0], 16):x}.virtio_mmio" for where in _iomem(booted)}
        assert hosts == bases


def _iomem(booted: Boot) -> list[str]:
    """The places that /proc/iomem gives the devices of ACPI."""
    lines = [line.strip().partition(" : ") for line in booted.sections["iomem"]]
    return [place for place, _, device in lines if "LNRO0005" in device]
