# SPDX-License-Identifier: GPL-2.0-or-later
"""The reasons for real recordings and modified ones."""

from __future__ import annotations

import io
from typing import Any

import pytest

from tests.unit.surgery import Line, at, change, dump, golden, judge, remove
from virtio_trace.graph import builder
from virtio_trace.recording import reader
from virtio_trace.render import table
from virtio_trace.report.summary import summarize

NET, RNG, SCSI = "0000:00:02.0", "0000:00:07.0", "0000:00:08.0"
REFUSED, BALLOON = "0000:00:03.0", "0000:00:05.0"


@pytest.fixture
def board() -> list[Line]:
    return golden("debian-6.1-reasons")


@pytest.fixture
def behind() -> list[Line]:
    return golden("debian-6.12-deferred")


def report(lines: list[Line]) -> dict[str, Any]:
    return summarize(builder.build(reader.read(dump(lines), "test")))


def reason(lines: list[Line], address: str) -> str:
    """The reason for the last device at ADDRESS; the check must give the same."""
    device = [d for d in report(lines)["devices"] if d["address"] == address][-1]
    assert device["reason"] in {f.message for f in judge(lines).findings if f.subject == address}
    return str(device["reason"])


def notes(lines: list[Line], address: str) -> list[str]:
    return [
        finding.message
        for finding in judge(lines).findings
        if (finding.subject, finding.severity) == (address, "note")
    ]


def test_features_that_the_device_refused(board: list[Line]) -> None:
    said = reason(board, BALLOON)
    assert said.startswith(
        "virtio_features_ok [virtio] returned -19 (ENODEV): the device refused the features that "
        "virtio_balloon wrote; missing: VIRTIO_F_ACCESS_PLATFORM (offered, not written; VirtIO 6.2 "
        "lets a device refuse to work without it); offered, but not written: "
        "VIRTIO_BALLOON_F_PAGE_POISON, VIRTIO_RING_F_INDIRECT_DESC, VIRTIO_F_ACCESS_PLATFORM; "
    )
    assert (
        '; the kernel\'s log: "virtio_balloon virtio3: virtio: device refuses features: 3"' in said
    )


def test_features_of_which_nothing_was_seen(board: list[Line]) -> None:
    for probe in ("set_status", "get_features", "driver_features"):
        board = remove(board, at(probe, BALLOON))
    said = reason(board, BALLOON)
    assert "no write of FEATURES_OK to the device was seen" in said
    assert "offered: unknown; in virtio_balloon's table: unknown" in said
    assert "the device refused" not in said


def test_validate_says_what_the_kernel_said(board: list[Line]) -> None:
    line = (
        '"virtio_net virtio1: device advertises feature VIRTIO_NET_F_CTRL_RX but not '
        'VIRTIO_NET_F_CTRL_VQ"'
    )
    said = reason(board, REFUSED)
    assert said.startswith(
        "virtnet_validate [virtio_net] returned -22 (EINVAL): virtio_net refused the device; "
        "missing: VIRTIO_NET_F_CTRL_VQ (not offered, but needed by VIRTIO_NET_F_CTRL_RX, "
        "VIRTIO_NET_F_CTRL_VLAN, VIRTIO_NET_F_GUEST_ANNOUNCE, VIRTIO_NET_F_CTRL_MAC_ADDR; VirtIO "
        "5.1.3.1); "
        f"the kernel's log: {line}"
    )
    board[-1]["log"] = None
    assert reason(board, REFUSED).endswith("5.1.3.1)")


def test_without_validate_the_bus_is_all_that_is_known(board: list[Line]) -> None:
    board[-1]["log"] = None
    board = remove(board, at("driver_validate", REFUSED))
    assert reason(board, REFUSED) == (
        "virtio_dev_probe [virtio] returned -22 (EINVAL) before virtio_net's own probe function "
        "was called"
    )


def test_the_innermost_function_that_returned_it(board: list[Line]) -> None:
    legacy = "0000:00:04.0"
    for probe in ("driver_probe", "virtio_dev_probe", "find_vqs"):
        board = change(board, at(probe, legacy, kind="return"), result=-12)
    binding = next(b for b in report(board)["bindings"] if b["device"] == legacy)
    assert (binding["step"], binding["reason"]) == ("driver-probed", reason(board, legacy))
    assert binding["reason"] == (
        "virtnet_probe [virtio_net] returned -12 (ENOMEM); innermost traced call: vp_find_vqs "
        "[virtio_pci]"
    )


def test_a_failure_that_was_made_up_for_is_no_cause(board: list[Line]) -> None:
    """MSI-X failed with -22, INTx succeeded, then the driver itself returned -22."""
    intx = "0000:00:09.0"
    for probe in ("driver_probe", "virtio_dev_probe"):
        board = change(board, at(probe, intx, kind="return"), result=-22)
    assert reason(board, intx) == "virtnet_probe [virtio_net] returned -22 (EINVAL)"


def test_another_attempts_log_is_not_quoted() -> None:
    """virtio0 was bound twice: for each binding, only log lines from around its time."""
    lines = golden("debian-6.1-rebind")
    returns = [line for line in lines if at("virtio_dev_probe", NET, kind="return")(line)]
    for probe in ("driver_probe", "virtio_dev_probe"):
        lines = change(lines, at(probe, NET, kind="return"), result=-12)
    said = [
        {"ns": line["ns"] - 5_000_000_000, "level": 3, "text": f"virtio_net virtio0: {number}"}
        for number, line in enumerate(returns)
    ]
    lines[-1]["log"] = {"lost": False, "behind_ns": 5_000_000_000, "lines": said}
    found = [b["reason"] for b in report(lines)["bindings"] if b["device"] == NET]
    assert len(found) > 1
    ends = [f'; the kernel\'s log from around that time: "{line["text"]}"' for line in said]
    assert [r for r, end in zip(found, ends, strict=True) if not r.endswith(end)] == []


def test_a_transport_that_failed(board: list[Line]) -> None:
    legacy = "0000:00:04.0"
    board = remove(
        board, lambda e: "id" in e.get("device", {}) and e["device"]["address"] == legacy
    )
    board = change(board, at("virtio_pci_probe", legacy, kind="return"), result=-12)
    text = f"virtio-pci {legacy}: no room"
    board[-1]["log"]["lines"] = [{"ns": 1, "level": 3, "text": text, "device": f"+pci:{legacy}"}]
    said = f'virtio_pci_probe [virtio_pci] returned -12 (ENOMEM); the kernel\'s log: "{text}"'
    assert reason(board, legacy) == said


def test_no_driver_in_this_kernel(board: list[Line]) -> None:
    assert reason(board, "0000:00:06.0") == (
        "no driver in this kernel for this device (type crypto): no id_table in its files has "
        "virtio:d00000014"
    )


def test_what_is_built_in_and_was_kept_from_registering(board: list[Line]) -> None:
    """No file says which devices a built-in driver matches: it may match this one."""
    rule = {"what": "con_init", "by": "initcall_blacklist", "where": "the kernel command line"}
    board[0]["forbidden"].append(rule)
    assert reason(board, "0000:00:06.0") == (
        "not bound; whether a driver that con_init (initcall_blacklist=con_init is on the kernel "
        "command line) registers matches it is unknown"
    )


@pytest.mark.parametrize("vendor", ["00001AF4", "*"])
def test_what_is_built_in_and_has_an_alias(board: list[Line], vendor: str) -> None:
    """Linux 6.18 and later have aliases of built-in modules, registered or not."""
    board[0]["evidence"]["builtin_aliases"] = {"crypt": [f"virtio:d00000014v{vendor}"]}
    crypto = "0000:00:06.0"
    said = "not bound: crypt, which matches it, is built in, but has not registered"
    assert reason(board, crypto) == f"{said}: why is unknown"
    assert [f.severity for f in judge(board).findings if f.subject == crypto] == ["error"]
    rule = {"what": "c_init", "by": "initcall_blacklist", "where": "the kernel command line"}
    board[0]["forbidden"].append(rule)
    assert reason(board, crypto) == (
        f"{said}; not called: c_init (initcall_blacklist=c_init is on the kernel command line)"
    )
    board[0]["evidence"]["builtin_aliases"] = {"crypt": ["virtio:d00000015v*"]}
    assert "registers matches it is unknown" in reason(board, crypto)


def test_no_driver_built_in_either(board: list[Line]) -> None:
    console = {**board[0]["evidence"]["drivers"][0], "name": "console", "ids": [[3, 0xFFFFFFFF]]}
    board[0]["evidence"]["drivers"].append({**console, "file": "/proc/kcore", "builtin": True})
    assert "no id_table in its files or built into it has" in reason(board, "0000:00:06.0")


def test_a_module_on_the_kernels_list(board: list[Line]) -> None:
    said = reason(board, RNG)
    assert said == (
        "not bound: virtio_rng, which matches it, was never registered: its module virtio_rng "
        "(alias virtio:d00000004v*) was not loaded: module_blacklist=virtio_rng is on the kernel "
        'command line; the kernel\'s log: "Module virtio_rng is blacklisted"'
    )


def test_a_module_in_modprobes_configuration(board: list[Line]) -> None:
    rule = {"what": "virtio_rng", "by": "blacklist", "where": "/etc/modprobe.d/x.conf"}
    board[0]["forbidden"], board[-1]["log"] = [rule], None
    said = reason(board, RNG)
    assert said.endswith('was not loaded: "blacklist virtio_rng" is in /etc/modprobe.d/x.conf')


def test_a_module_that_was_forbidden_later(board: list[Line]) -> None:
    rule = {"what": "virtio_rng", "by": "blacklist", "where": "/etc/modprobe.d/x.conf"}
    board[0]["forbidden"], board[-1]["log"] = [], None
    board[-1]["forbidden"] = [{**rule, "what": "virtio_net"}, rule]
    assert reason(board, RNG).endswith(
        'was not loaded: "blacklist virtio_rng" is in /etc/modprobe.d/x.conf since the recording '
        "began"
    )


def test_a_module_that_nothing_forbids(board: list[Line]) -> None:
    board[0]["forbidden"], board[-1]["log"] = [], None
    assert reason(board, RNG).endswith("whether anything asked for it is unknown")
    del board[0]["forbidden"]
    assert reason(board, RNG).endswith("whether something forbids it is not in the recording")


def test_an_init_that_failed(board: list[Line]) -> None:
    said = (
        "its module virtio_scsi was loaded, but its init failed: do_init_module returned -1 (EPERM)"
    )
    rule = ": initcall_blacklist=virtio_scsi_init is on the kernel command line"
    assert reason(board, SCSI).endswith(said + rule)
    board[0]["forbidden"] = []
    assert reason(board, SCSI).endswith(said)
    board = remove(board, at("do_init_module"))
    assert reason(board, SCSI).endswith("but what its init returned is not in the recording")


def test_autoprobe_off(board: list[Line]) -> None:
    off = "; autoprobe is off: /sys/bus/virtio/drivers_autoprobe was 0 at the end"
    assert reason(board, NET) == (
        f"the bus was not scanned for virtio_net, whose id_table has the device{off}"
    )
    board[-1]["final"]["autoprobe"]["virtio"] = None
    assert off not in reason(board, NET)


def test_notes_on_what_is_bound_all_the_same(board: list[Line]) -> None:
    assert notes(board, "0000:00:04.0") == [
        "a legacy device: virtio_pci_modern_probe [virtio_pci] returned -19 (ENODEV), then the "
        "legacy interface was taken"
    ]
    assert notes(board, "0000:00:09.0") == [
        "no MSI-X: vp_find_vqs_msix [virtio_pci] returned -22 (EINVAL); its virtqueues share the "
        "INTx interrupt"
    ]
    assert notes(golden("debian-6.1"), NET) == []


def test_deferred_without_a_word_from_the_kernel(behind: list[Line]) -> None:
    behind[-1]["log"] = None
    assert reason(behind, NET) == (
        "a PCI device without a driver: its probe was deferred; the kernel does not say what it "
        "waits for; the VirtIO IOMMU at 0000:00:01.0 has no driver"
    )
    net = next(d for d in report(behind)["devices"] if d["address"] == NET)
    assert (net["state"], net["type"], net["transport"]) == ("unbound", "net", "pci-modern")


def test_deferred_with_a_reason_and_a_supplier(behind: list[Line]) -> None:
    end = behind[-1]["final"]
    end["deferred"][NET] = "supplier not ready"
    end["pci"][1]["suppliers"] = ["platform:iommu.0"]
    assert (
        "deferred; the kernel says: supplier not ready; its suppliers in sysfs: platform:iommu.0;"
        in reason(behind, NET)
    )


def test_deferred_by_an_iommu_that_acpi_names(behind: list[Line]) -> None:
    behind[-1]["log"] = None
    function = behind[-1]["final"]["pci"][1]
    assert function["address"] == NET
    first = "a PCI device without a driver: its probe was deferred; ACPI's VIOT puts it behind "
    for iommu, said in (
        ("0000:00:01.0", "the VirtIO IOMMU at 0000:00:01.0, which has no driver"),
        ("0000:00:1f.0", "the VirtIO IOMMU at 0000:00:1f.0, which is not on the VirtIO bus"),
    ):
        function["iommu"] = iommu
        assert reason(behind, NET) == first + said


def test_a_binding_that_was_deferred(board: list[Line]) -> None:
    def of(lines: list[Line]) -> str:
        found = [b for b in report(lines)["bindings"] if b["device"] == "0000:00:04.0"]
        return str(found[-1]["reason"])

    for probe in ("driver_probe", "virtio_dev_probe"):
        board = change(board, at(probe, "0000:00:04.0", kind="return"), result=-517)
    first = (
        "virtnet_probe [virtio_net] returned -517 (EPROBE_DEFER); the kernel tries again later; "
    )
    board[-1]["log"] = None
    end = board[-1]["final"]
    for deferred, said in (
        ({}, "what it waited for is unknown: it was no longer deferred at the end"),
        ({"virtio2": None}, "the kernel does not say what it waits for"),
        (None, "what it waits for is unknown: debugfs' devices_deferred could not be read"),
    ):
        end["deferred"] = deferred
        assert of(board) == first + said
    board[-1]["final"] = None
    assert of(board) == first + "what it waits for is not in the recording"


@pytest.mark.parametrize(
    ("change", "said", "severity"),
    [
        ({"deferred": {}}, "virtio-pci is registered, but was not called for it", "error"),
        ({"deferred": None}, "whether it is deferred is unknown", "error"),
        (
            {"deferred": {}, "autoprobe": {"pci": False}},
            "/sys/bus/pci/drivers_autoprobe was 0 at the end", "error",
        ),
        ({"deferred": {}, "registered": False}, "is built in, but is not registered", "error"),
    ],
)  # fmt: skip
def test_a_pci_device_without_a_driver(
    behind: list[Line], change: dict[str, Any], said: str, severity: str
) -> None:
    behind[-1]["final"].update(change)
    assert said in reason(behind, NET)
    assert {f.severity for f in judge(behind).findings if f.subject == NET} == {severity}


def test_the_transports_module_was_not_loaded(board: list[Line]) -> None:
    """All of virtio is modular, and no module was loaded."""
    board = remove(board, lambda line: True)
    end = board[-1]["final"]
    end.update(modules=[], devices=[], drivers=[], registered=False)
    for function in end["pci"]:
        function["driver"] = None
    assert "virtio-pci, which matches it, was never registered: its module virtio_pci" in reason(
        board, NET
    )
    board[0]["evidence"]["transports"] = []
    assert "no virtio-pci in this kernel" in reason(board, NET)
    assert {f.severity for f in judge(board).findings if f.subject == NET} == {"warning"}


def test_a_driver_override(behind: list[Line]) -> None:
    behind[-1]["final"]["pci"][1]["override"] = "vfio-pci"
    assert "its driver_override is vfio-pci" in reason(behind, NET)
    behind[-1]["final"]["pci"][1]["driver"] = "vfio-pci"
    assert NET not in [d["address"] for d in report(behind)["devices"]]


def test_bound_before_the_recording_began(behind: list[Line]) -> None:
    behind[0]["snapshot"]["devices"][0]["driver"] = "virtio_iommu"
    iommu = "0000:00:01.0"
    messages = [f.message for f in judge(behind).findings if f.subject == iommu]
    assert messages == [
        "the device was on the bus before the recording began",
        "the device was registered before the recording began",
        "bound to virtio_iommu before the recording began",
    ]
    found = next(d for d in report(behind)["devices"] if d["address"] == iommu)
    assert (found["state"], found["driver"], found["snapshot"]) == ("bound", "virtio_iommu", True)


def test_a_message_is_made_safe_for_a_terminal(board: list[Line]) -> None:
    board[-1]["log"]["lines"] = [{"ns": 0, "level": 3, "text": "virtio1: \x1b[31m\u202e"}]
    out = io.StringIO()
    table.table(report(board), out)
    assert "\\x1b[31m\\u202e" in out.getvalue()
    assert "\x1b" not in out.getvalue()


def test_dropping_any_line_is_never_passed(behind: list[Line]) -> None:
    """The log and the state at the end are in the trailer; without it, a recording is truncated."""
    assert judge(behind[:-1]).verdict != "CONFORMS"
