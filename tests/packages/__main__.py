# SPDX-License-Identifier: GPL-2.0-or-later
"""make packages: what make deb and make wheel have built, on bare roots; and building it there.

Needs root (chroot, mount namespaces), mmdebstrap and the machine's apt mirror. Takes minutes.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from functools import partial
from pathlib import Path

import virtio_trace
from tests.packages import debian_package, roots, wheels

TOP = Path(__file__).resolve().parents[2]
DEB = TOP / f"dist/virtio-trace_{virtio_trace.__version__}_all.deb"
WHEEL = TOP / f"dist/virtio_trace-{virtio_trace.__version__}-py3-none-any.whl"


def reproducible() -> None:
    """The same commit gives the same package, whatever the time, the time zone and the umask."""
    first = hashlib.sha256(DEB.read_bytes()).hexdigest()
    command = ["sh", "-c", "umask 077; exec tools/build-deb"]
    environment = {**os.environ, "TZ": "Pacific/Kiritimati", "LC_ALL": "C"}
    subprocess.run(command, cwd=TOP, env=environment, check=True, stdout=subprocess.DEVNULL)
    assert hashlib.sha256(DEB.read_bytes()).hexdigest() == first


def build(suite: str) -> None:
    """From a clone in a bare root of SUITE: what is missing is named, then installed; lintian."""
    with roots.root(suite) as root, tempfile.TemporaryDirectory() as scratch:
        bundle = Path(scratch, "clone.bundle")
        subprocess.run(["git", "bundle", "create", "-q", bundle, "HEAD"], cwd=TOP, check=True)
        root.install("git", "dpkg-dev", "ca-certificates")
        root.run("git", "clone", "-q", root.put(bundle), "/src")
        said = root.run("/src/tools/build-deb", status=3)
        assert "nmet build dependencies" in said and "dh-python" in said, said
        root.run("/src/tools/install-packages", "deb")
        said = root.run("/src/tools/build-deb")
        assert said == f"dist/{DEB.name}\n", said
        root.install("lintian")
        said = root.run(
            "lintian", "--allow-root", "--fail-on=error,warning", f"/src/dist/{DEB.name}"
        )
        assert said == "", said


def use(suite: str, fetched: Path) -> None:
    """What was built on this machine, in bare roots of SUITE."""
    with roots.root(suite) as root:
        debian_package.check(root, DEB)
    with roots.root(suite) as root:
        wheels.check(root, WHEEL, fetched)


def main() -> int:
    """Run everything; 1 if something failed, 3 if it cannot be run here."""
    if os.geteuid() != 0:
        print("make packages: only root can make roots; sudo make packages", file=sys.stderr)
        return 3
    failed = 0

    def step(what: str, check: Callable[[], None]) -> None:
        nonlocal failed
        begun = time.monotonic()
        try:
            check()
        except (AssertionError, subprocess.CalledProcessError) as error:
            failed += 1
            print(f"FAILED  {what}: {error}", flush=True)
            traceback.print_tb(error.__traceback__)
        else:
            print(f"ok  {time.monotonic() - begun:5.0f} s  {what}", flush=True)

    there = roots.suites()
    for suite in roots.UBUNTU:
        if suite not in there:
            print(f"not tested: Ubuntu {suite}, which this machine's mirror does not have")
    step("the same commit gives the same .deb", reproducible)
    with tempfile.TemporaryDirectory() as name:
        wheels.fetch(Path(name))
        for suite in there:
            step(f"{suite}: installed, used, purged", partial(use, suite, Path(name)))
    for suite in there:
        step(f"{suite}: built from a clone, lintian", partial(build, suite))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
