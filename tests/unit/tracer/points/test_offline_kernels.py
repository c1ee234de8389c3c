# SPDX-License-Identifier: GPL-2.0-or-later
"""What to arm on real kernels that do not run: compared with bpftool and with nm of each module.

That the kernel has the same when it runs is checked in tests/vm/test_boot_events.py.
"""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from virtio_trace.check.linux_steps import NEEDED
from virtio_trace.cli.support.boot_parameters import for_kernel
from virtio_trace.kernel.files import compression, vmlinuz
from virtio_trace.tracer.ftrace import cmdline
from virtio_trace.tracer.points import offline
from virtio_trace.tracer.points.offline import OfflineKernel
from virtio_trace.tracer.points.table import NEGOTIATION_POINTS
from virtio_trace.virtio.transports import TRANSPORTS
from virtio_trace.vm.host import debian

KERNELS = {
    "6.1": ("linux-image-cloud-amd64/bookworm", None, "x86_64"),
    "6.12": ("linux-image-6.12-cloud-amd64/bookworm", None, "x86_64"),
    "7.2": ("linux-image-cloud-amd64/sid", None, "x86_64"),
    "arm64": ("linux-image-cloud-arm64/trixie", "arm64", "aarch64"),
}
Case = tuple[str, debian.KernelPackage, OfflineKernel]


@pytest.fixture(scope="module", params=KERNELS)
def case(request: pytest.FixtureRequest, fetch: Callable[..., debian.KernelPackage]) -> Case:
    name, architecture, _machine = KERNELS[request.param]
    found = fetch(name, architecture=architecture)
    return request.param, found, offline.read(found.vmlinuz, found.modules)


def _structs(kernel: debian.KernelPackage, folder: Path) -> dict[str, dict[str, Any]]:
    """The kernel's structs, by bpftool."""
    file = folder / "btf"
    data = vmlinuz.payload(compression.read_file(kernel.vmlinuz), "")
    file.write_bytes(vmlinuz.btf_bytes(data, str(kernel.vmlinuz)))
    command = ["bpftool", "-j", "btf", "dump", "file", str(file)]
    done = subprocess.run(command, check=True, capture_output=True)
    types = json.loads(done.stdout)["types"]
    return {t["name"]: t for t in types if t["kind"] == "STRUCT"}


def _at(structs: dict[str, dict[str, Any]], struct: str, member: str) -> int:
    (found,) = (m for m in structs[struct]["members"] if m["name"] == member)
    return int(found["bits_offset"]) // 8


def test_the_machine_and_what_is_built_in(case: Case) -> None:
    name, _debian, kernel = case
    assert kernel.machine == KERNELS[name][2]
    assert ("virtio_pci" in kernel.builtin) == (name != "6.1")


def test_offsets_are_those_of_bpftool(case: Case, tmp_path: Path) -> None:
    _name, found, kernel = case
    structs = _structs(found, tmp_path)
    at = kernel.offsets
    for member, (struct, theirs) in {
        "device_parent": ("device", "parent"),
        "device_driver": ("device", "driver"),
        "pci_dev_dev": ("pci_dev", "dev"),
        "pci_dev_vendor": ("pci_dev", "vendor"),
        "driver_name": ("device_driver", "name"),
        "platform_device_dev": ("platform_device", "dev"),
        "module_name": ("module", "name"),
    }.items():
        assert at[member] == _at(structs, struct, theirs), member


def test_functions_that_share_a_name_are_where_nm_has_them(case: Case, tmp_path: Path) -> None:
    """6.1 has them in a module, by nm; the others built in, all at different places."""
    name, found, kernel = case
    twins = [s.target for s in kernel.probes if s.target and s.target.base]
    assert len(twins) == 6
    if name != "6.1":
        assert {t.base for t in twins} == {"_stext"} and len({t.offset for t in twins}) == 6
        return
    (file,) = found.modules.rglob("virtio_pci.ko*")
    (tmp_path / "m.ko").write_bytes(compression.unpack(file.read_bytes(), ""))
    lines = subprocess.run(
        ["nm", str(tmp_path / "m.ko")], check=True, capture_output=True, text=True
    ).stdout
    places = re.findall(r"^([0-9a-f]{16}) [tT] (\S+)$", lines, re.MULTILINE)
    at = {symbol: int(address, 16) for address, symbol in places}
    found_at = {(t.symbol, at[str(t.base)] + t.offset) for t in twins}
    assert found_at == {
        (symbol, int(address, 16))
        for address, symbol in places
        if symbol in ("vp_set_status", "vp_reset", "vp_get_features")
    }


@pytest.mark.parametrize("room", [400, 1000, 1700, 1990])
def test_a_line_fits_and_is_for_this_kernel(case: Case, room: int) -> None:
    _name, _found, kernel = case
    line = for_kernel(kernel, room, modules=True)
    assert 0 < len(line.text.encode()) <= room
    registers = {"%di", "%x0"} & set(re.findall(r"%(?:di|x0)", line.text))
    assert registers == {"%di" if kernel.machine == "x86_64" else "%x0"}
    left = {one.point.name for one in line.left}
    if room == 1990:
        assert left & NEEDED <= {
            "driver_probe",
            *(one.probe for one in TRANSPORTS if not one.common),
        }


def test_all_that_is_built_in_is_on_the_command_line(case: Case) -> None:
    name, _found, kernel = case
    line = for_kernel(kernel, cmdline.CMDLINE_MAX - 60, modules=False)
    least = next(one.priority for one in NEGOTIATION_POINTS if one.name == "driver_features")
    tight = name == "7.2"  # driver_features itself does not fit
    assert all(one.point.priority >= least + (not tight) for one in line.left)
    if name == "6.1":
        assert {one.point.name for one in line.armed} == {"bus_register"}
    if name in ("6.12", "7.2"):
        symbols = {one.target.symbol for one in line.armed}
        assert symbols >= {"virtcons_probe", "virtio_fs_probe", "vp_set_status"}
