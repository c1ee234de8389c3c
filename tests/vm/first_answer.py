# SPDX-License-Identifier: GPL-2.0-or-later
"""From a Debian system that has nothing of what we need to the first answer: what is typed.

    python -m tests.vm.first_answer [SUITE ...]

prints each command, its exit status, its seconds and its last lines. It is not a test: apt fetches
from the mirror. The package is in the user's home, as if copied there. QEMU emulates the
processor.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from tests.vm import installed, live_images
from tests.vm.system import System, tar

_SIZE = 3000
"""MiB, with room for BCC and LLVM, if the package's recommendation is wanted too: 160 MB."""

TYPED = (
    "sudo apt-get update -q",
    "sudo apt-get install -q -y --no-install-recommends ./virtio-trace_*_all.deb",
    "sudo virtio-trace doctor",
    "sudo virtio-trace record --rebind vdb",
    "virtio-trace report",
)


def answer(suite: str, folder: Path) -> bool:
    """Type TYPED in a new system of SUITE. Whether all of them succeeded."""
    given = folder / "given.tar"
    package = folder / "virtio-trace_0_all.deb"
    package.write_bytes(installed.package().read_bytes())
    tar([package], given)
    with System(live_images.image(suite, (), _SIZE), given, folder) as system:
        asked = system.log_in()
        system.must("systemctl is-system-running --wait")
        system.must("sudo tar -xf /dev/vdb")
        print(f"== {suite}: login after {asked:.0f} s", flush=True)
        total, well = 0.0, True
        for command in TYPED:
            done = system.run(command)
            total += done.seconds
            well = well and done.status == 0
            print(f"$ {command}\n   status {done.status}, {done.seconds:.1f} s", flush=True)
            print("\n".join(done.text.splitlines()[-12:]), flush=True)
    print(f"== {suite}: {total:.0f} s in all", flush=True)
    return well


def main(suites: list[str]) -> int:
    """1 if a command failed."""
    well = True
    for suite in suites or live_images.SUITES:
        with tempfile.TemporaryDirectory(prefix="vt-first-") as name:
            well = answer(suite, Path(name)) and well
    return 0 if well else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
