# SPDX-License-Identifier: GPL-2.0-or-later
"""Systems that began in an initrd: what its module files prove, and what they do not."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.unit.check.test_diagnosis import NET, RNG, SCSI, reason
from tests.unit.surgery import Line, golden, judge, remove

CRYPTO = "0000:00:06.0"
FILE = "kernel/drivers/char/hw_random/virtio-rng.ko"
LACKS = f"was not loaded: {FILE} is not in the initrd"
STILL = f"{LACKS}, and the system is still in the initrd"
NOT_REACHED = "; the root file system was not reached"


@pytest.fixture
def board() -> list[Line]:
    """The driver of RNG was not loaded. The recording ends in an initrd that does not have it."""
    lines = golden("debian-6.1-reasons")
    lines[0]["forbidden"], lines[-1]["log"] = [], None
    lines[0]["initrd"] = {"modules": ["virtio_net", "virtio_blk"]}
    lines[-1]["final"]["initrd_left"] = False
    return lines


def severities(lines: list[Line], address: str) -> set[str]:
    return {f.severity for f in judge(lines).findings if f.subject == address}


def without_a_transport(lines: list[Line]) -> list[Line]:
    """LINES of a boot that loaded no module of VirtIO."""
    lines = remove(lines, lambda line: line["seq"] > 1)
    end = lines[-1]["final"]
    end.update(modules=[], devices=[], drivers=[], registered=False)
    for function in end["pci"]:
        function["driver"] = None
    return lines


def test_a_driver_that_only_a_root_not_reached_has_is_unknown(board: list[Line]) -> None:
    assert reason(board, RNG).endswith(STILL + NOT_REACHED)
    assert severities(board, RNG) == {"warning"}
    (step,) = (s for s in judge(board).steps if (s.subject, s.id) == (RNG, "pair-matched"))
    assert step.ok is None


def test_what_is_built_in_or_was_loaded_is_not_out_of_reach(board: list[Line]) -> None:
    """virtio_scsi was loaded, and its init failed."""
    assert "its init failed" in reason(board, SCSI)
    assert NOT_REACHED not in reason(board, SCSI)
    assert severities(board, SCSI) == {"error"}
    board[0]["evidence"]["builtin"].append("virtio_rng")
    assert "virtio_rng is built in" in reason(board, RNG)
    assert NOT_REACHED not in reason(board, RNG)
    assert severities(board, RNG) == {"error"}


def test_what_the_kernel_refused_is_not_out_of_reach(board: list[Line]) -> None:
    text = "virtio_rng: disagrees about version of symbol module_layout"
    board[-1]["log"] = {"lost": False, "lines": [{"ns": 0, "level": 4, "text": text}]}
    assert "the kernel refused to load its module virtio_rng" in reason(board, RNG)
    assert NOT_REACHED not in reason(board, RNG)
    assert severities(board, RNG) == {"error"}


def test_what_forbids_it_is_named_too(board: list[Line]) -> None:
    rule = {"what": "virtio_rng", "by": "blacklist", "where": "/etc/modprobe.d/x.conf"}
    board[0]["forbidden"] = [rule]
    assert f'{STILL}; "blacklist virtio_rng" is in' in reason(board, RNG)


def test_the_driver_of_the_only_storage_is_why_the_root_was_not_reached(board: list[Line]) -> None:
    board = remove(board, lambda line: "virtio_scsi" in str(line))
    assert "virtio_scsi.ko is not in the initrd, and the system is" in reason(board, SCSI)
    assert NOT_REACHED not in reason(board, SCSI)
    assert severities(board, SCSI) == {"error"}
    for line in board[1:-1]:
        if line.get("device", {}).get("address") == "0000:00:09.0":  # it is bound
            line["device"]["id"] = 2
    assert reason(board, SCSI).endswith(NOT_REACHED)
    assert severities(board, SCSI) == {"warning"}


@pytest.mark.parametrize(
    "reach",
    [
        lambda lines: lines[-1]["final"].update(initrd_left=True),
        lambda lines: lines[0]["initrd"]["modules"].append("virtio_rng"),
        lambda lines: lines[0].pop("initrd"),
    ],
)
def test_a_driver_that_could_be_loaded_is_an_error(
    board: list[Line], reach: Callable[[list[Line]], object]
) -> None:
    reach(board)
    assert reason(board, RNG).endswith("whether anything asked for it is unknown")
    assert severities(board, RNG) == {"error"}


def test_the_same_where_the_transport_itself_is_not_in_the_initrd(board: list[Line]) -> None:
    board = without_a_transport(board)
    assert reason(board, NET).endswith(
        "virtio_pci.ko is not in the initrd, and the system is still in the initrd" + NOT_REACHED
    )
    assert severities(board, NET) == {"warning"}
    board[0]["initrd"]["modules"].append("virtio_pci")
    assert severities(board, NET) == {"error"}


def test_only_the_initrds_files_are_known(board: list[Line]) -> None:
    assert reason(board, CRYPTO).startswith("no driver in this kernel for this device")
    board[0]["initrd"]["only"] = True
    said = reason(board, CRYPTO)
    assert said.startswith("no driver in the initrd for this device (type crypto): no id_table")
    assert said.endswith("; the modules of the root file system were not read")
    (step,) = (s for s in judge(board).steps if (s.subject, s.id) == (CRYPTO, "pair-matched"))
    assert step.ok is None


def test_without_the_transport_in_the_initrd(board: list[Line]) -> None:
    board = without_a_transport(board)
    board[0]["evidence"]["transports"] = []
    assert "no virtio-pci in this kernel" in reason(board, NET)
    board[0]["initrd"]["only"] = True
    assert "no virtio-pci in the initrd; the modules of the root" in reason(board, NET)


def test_a_driver_in_no_file_of_the_initrd(board: list[Line]) -> None:
    board[0]["initrd"]["only"] = True
    drivers = board[0]["evidence"]["drivers"]
    board[0]["evidence"]["drivers"] = [d for d in drivers if d["name"] != "virtio_net"]
    messages = [f.message for f in judge(board).findings]
    assert any(m.startswith("no module file of the initrd has virtio_net: its") for m in messages)
    assert not any("this kernel" in m and "built into" not in m for m in messages), messages
