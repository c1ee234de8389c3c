# SPDX-License-Identifier: GPL-2.0-or-later
"""The part of `make matrix` that boots images: prints one line per case and a total.

    python -m tests.imaged [CASE ...]

Each recording is compared with sysfs as a service in the image prints it, and with
initcall_debug. The checksum shows that the image was not written.
"""

from __future__ import annotations

import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from tests.vm import foreign, oracle
from tests.vm.foreign import END, Case, Foreign
from virtio_trace.errors import VirtioTraceError


@dataclass(frozen=True, slots=True)
class Expected:
    """A case, the device node of its root, and the bus address of its disk."""

    case: Case
    root: str
    disk: str = "0000:00:03.0"


CASES = {
    "Debian 12, GRUB, raw": Expected(Case("bookworm", until=END), "/dev/vda1"),
    "Debian 12, another disk before its own": Expected(
        Case(
            "bookworm",
            options=(
                *("-netdev", "user,id=net0"),
                *("-device", "virtio-net-pci,netdev=net0,romfile=,addr=04.0"),
                *("-blockdev", "null-co,node-name=other,size=67108864,read-zeroes=on"),
                *("-device", "virtio-blk-pci,drive=other,addr=02.0"),
            ),
        ),
        "/dev/vdb1",
    ),
    "Debian 13, no boot loader, qcow2": Expected(
        Case("trixie", append="root=/dev/vda", until=END), "/dev/vda"
    ),
    "Debian 12, dracut, systemd in its initrd, qcow2": Expected(
        Case("dracut", append="root=/dev/vda", until=END), "/dev/vda"
    ),
    "Debian 12, a unified kernel image, qcow2": Expected(Case("uki", until=END), "/dev/vda2"),
    "Debian 12, systemd-boot, raw": Expected(Case("bls", until=END), "/dev/vda2"),
}


def wrong(expected: Expected, booted: Foreign) -> list[str]:
    """Messages on what is wrong with a boot."""
    if "end" not in booted.sections:
        return [f"it did not come up: {booted.stderr[-300:]!r}"]
    found = foreign.wrong_verdict(booted, "CONFORMS") + foreign.wrong_devices(booted)
    if booted.checksums[0] != booted.checksums[1]:
        found.append("the image was written")
    if not any(" / / " in m and f" {expected.root} " in m for m in booted.sections["mounts"]):
        found.append(f"its root is not {expected.root}")
    report = booted.report()
    probes = [b["function"] for b in report["bindings"] if b["device"] == expected.disk]
    if probes != ["virtblk_probe"]:
        found.append(f"its disk's probe functions are {probes}")
    theirs = {p.device: -p.result for p in oracle.virtio_probes(booted.kernel_log)}
    ours = {b["name"]: b["result"] for b in report["bindings"]}
    if ours != theirs:
        found.append(f"bindings are {ours}, initcall_debug shows {theirs}")
    return found


def main(wanted: list[str]) -> int:
    """Boot each image in turn."""
    bad = 0
    names = wanted or list(CASES)
    with tempfile.TemporaryDirectory(prefix="vt-images-") as folder:
        for number, name in enumerate(names):
            try:
                booted = foreign.boot(CASES[name].case, Path(folder) / str(number))
                found = wrong(CASES[name], booted)
                known = f"{len(booted.report()['devices'])} devices, {booted.summary}"
            except (VirtioTraceError, AssertionError, LookupError, ValueError) as error:
                found, known = [f"{type(error).__name__}: {error}"], ""
            bad += bool(found)
            print(
                f"{'WRONG' if found else 'ok   '} {name}: {'; '.join(found) or known}", flush=True
            )
    print(f"{len(names)} images: {bad} wrong")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
