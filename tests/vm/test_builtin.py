# SPDX-License-Identifier: GPL-2.0-or-later
"""Drivers that are built in, read from the kernel's image, and ones whose module file is gone, read
from the kernel's memory by a recorder in the guest.

They are compared with sysfs (the drivers and their devices), with modules.builtin and kallsyms
(names), and with the kernel's own list of kprobes; under lockdown, as on a machine with Secure
Boot.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.vm import oracle
from tests.vm.guest import BLK, NET, Boot, Guest

CONSOLE, CRYPTO, RNG = "0000:00:04.0", "0000:00:05.0", "0000:00:06.0"
_OPTIONS = (
    *(*NET, *BLK, "-device", "virtio-serial-pci,addr=04.0"),
    *("-object", "cryptodev-backend-builtin,id=c0"),
    *("-device", "virtio-crypto-pci,cryptodev=c0,addr=05.0"),
    *("-device", "virtio-rng-pci,addr=06.0"),
)
_REBIND = "n=$(ls -d virtio*); echo $n >unbind; echo $n >bind"
_SCRIPT = f"""{oracle.SYSFS}
at drivers
for d in /sys/bus/virtio/drivers/*; do echo "${{d##*/}} $(readlink $d/module || echo -)"; done
at builtin; cat /lib/modules/*/modules.builtin
at kallsyms; grep -E ' [tT] [a-z_]*virt' /proc/kallsyms
at kprobes; cat /sys/kernel/debug/kprobes/list
cd /sys/bus/virtio/drivers/virtio_console; {_REBIND}
show_bus final
at recorder
for m in rng net; do
    rm $(find /lib/modules -name "virtio[-_]$m.ko*")
    sed -i "/virtio[-_]$m.ko/d" /lib/modules/*/modules.dep
done
cd /sys/bus/virtio/drivers/virtio_rng
python3 -m virtio_trace record -q -o /run/inner.vtr -- sh -c '{_REBIND}'
at inner; cat /run/inner.vtr
"""

GUESTS = {
    "6.12": Guest(
        "6.12", _SCRIPT, _OPTIONS, append="initcall_debug lockdown=integrity", seconds=40,
        boot_events=False, python=True,
    )
}  # fmt: skip


@pytest.fixture
def facts(booted: Boot) -> dict[str, dict[str, Any]]:
    """The drivers in the recording's header that were not read from modules, by name."""
    drivers = booted.lines()[0]["evidence"]["drivers"]
    return {d["name"]: d for d in drivers if not d["file"].startswith("kernel/")}


def test_those_that_sysfs_has_without_a_module(
    booted: Boot, facts: dict[str, dict[str, Any]]
) -> None:
    drivers = dict(line.split() for line in booted.sections["drivers"])
    inside = {name for name, module in drivers.items() if module == "-"}
    assert {"virtio_console", "virtiofs"} <= inside
    assert facts.keys() == inside
    assert "Kernel is locked down" in booted.kernel_log
    assert all(driver["builtin"] for driver in facts.values())
    assert booted.lines()[0]["evidence"]["unread"] == {}


def test_names_are_those_of_modules_builtin_and_kallsyms(
    booted: Boot, facts: dict[str, dict[str, Any]]
) -> None:
    modules = {line.rpartition("/")[2] for line in booted.sections["builtin"]}
    functions = {line.split()[2] for line in booted.sections["kallsyms"] if "[" not in line}
    for driver in facts.values():
        assert driver["functions"]["probe"] in functions
        assert driver["functions"]["remove"] in functions
        # drivers/char/virtio_console.c has both.
        named = driver["name"].replace("virtio_rproc_serial", "virtio_console")
        assert driver["module"] == named
        assert f"{named}.ko" in modules
    assert facts["virtio_console"]["init"] in functions
    assert facts["virtio_console"]["struct"] == "virtio_console"  # drivers/char/virtio_console.c


def test_ids_and_features_are_those_of_the_source(facts: dict[str, dict[str, Any]]) -> None:
    """drivers/char/virtio_console.c, fs/fuse/virtio_fs.c."""
    console, fs = facts["virtio_console"], facts["virtiofs"]
    assert (console["ids"], fs["ids"]) == ([[3, 0xFFFFFFFF]], [[26, 0xFFFFFFFF]])
    assert (console["features"], console["features_legacy"]) == ([0, 1], [])
    assert fs["functions"]["probe"] == "virtio_fs_probe"


def test_its_own_probe_function_is_armed_once_and_seen(booted: Boot) -> None:
    listed = [line.split() for line in booted.sections["kprobes"]]
    armed = sorted(words[1] for words in listed if words[2].startswith("virtcons_probe+"))
    assert armed == ["k", "r"]
    (binding,) = (b for b in booted.report()["bindings"] if b["device"] == CONSOLE)
    assert (binding["function"], binding["symbol"]) == ("virtcons_probe", "virtcons_probe")
    assert (binding["driver"], binding["result"]) == ("virtio_console", 0)
    final = oracle.devices(booted.sections["final"])
    assert (final[CONSOLE].name, final[CONSOLE].driver) == (binding["name"], "virtio_console")


def test_its_steps_are_judged(booted: Boot) -> None:
    _, found = booted.check()
    steps = {s["id"]: s["ok"] for s in found["steps"] if s["subject"] == CONSOLE}
    assert [steps[name] for name in ("pair-matched", "bus-probed", "driver-probed")] == [True] * 3
    assert not [f for f in found["findings"] if f["severity"] == "error"]


def test_the_report_says_that_it_is_built_in(booted: Boot) -> None:
    drivers = {d["name"]: d for d in booted.report()["drivers"]}
    console = drivers["virtio_console"]
    assert (console["module"], console["builtin"]) == ("virtio_console", True)
    assert (console["probe"], console["init"]) == ("virtcons_probe", "virtio_console_init")
    assert console["matches"] == ["virtio:d00000003v*"]
    assert "built in" in next(
        line for line in booted.stdout.splitlines() if line.startswith("virtio_console ")
    )


def test_a_device_that_no_driver_is_for(booted: Boot) -> None:
    (device,) = (d for d in booted.report()["devices"] if d["address"] == CRYPTO)
    assert device["reason"].startswith("no driver in this kernel for this device (type crypto)")
    _, found = booted.check()
    (finding,) = (f for f in found["findings"] if f["message"] == device["reason"])
    assert (finding["severity"], finding["subject"]) == ("warning", CRYPTO)


def test_modules_that_are_loaded_and_have_no_file(booted: Boot) -> None:
    """Their memory has what their files had, when those existed."""
    modules = dict(line.split() for line in booted.sections["drivers"])
    inner = [json.loads(line) for line in booted.sections["inner"]]
    memory, files = (
        {driver["name"]: driver for driver in header["evidence"]["drivers"]}
        for header in (inner[0], booted.lines()[0])
    )
    for name in ("virtio_rng", "virtio_net"):
        assert modules[name].endswith(f"/{memory[name]['module']}")
        assert (memory[name]["file"], memory[name]["builtin"]) == ("/proc/kcore", False)
        assert files[name]["file"].startswith("kernel/")
        for member in ("struct", "ids", "functions", "features", "features_legacy"):
            assert memory[name][member] == files[name][member], (name, member)
    probed = [line for line in inner if line.get("function") == "virtrng_probe"]
    assert [line["kind"] for line in probed] == ["entry", "return"]
    assert {line["device"]["address"] for line in probed} == {RNG}
