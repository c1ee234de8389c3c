# SPDX-License-Identifier: GPL-2.0-or-later
"""Runs inside a guest, as its --run: asks doctor and record on machines that lack something.

It is sent with traces.py and inside_recorders.py, and imports only the standard library. Prints one
JSON object: the outcome of each scenario by its name.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tests.vm.inside_recorders import OUT, summary, write
from tests.vm.traces import left

US = (sys.executable, "-m", "virtio_trace")
TRACING, DEBUG = "/sys/kernel/tracing", "/sys/kernel/debug"
KPTR = Path("/proc/sys/kernel/kptr_restrict")
LOCKDOWN = Path("/sys/kernel/security/lockdown")
_PR_CAPBSET_DROP, _CAP_SYS_ADMIN, _CAP_PERFMON, _CAP_BPF = 24, 21, 38, 39


def asked(*before: str, **options: Any) -> dict[str, Any]:
    """What doctor says, and how record ends."""
    OUT.unlink(missing_ok=True)
    doctor, record = (
        subprocess.run(
            [*before, *US, *words], capture_output=True, text=True, check=False, **options
        )
        for words in (("doctor",), ("record", "-q", "-o", str(OUT), "--", "true"))
    )
    return {
        "doctor": [doctor.returncode, doctor.stdout.splitlines(), doctor.stderr],
        "record": [record.returncode, record.stderr.splitlines()],
        "recording": summary(OUT),
    }


@contextlib.contextmanager
def without(*mounts: tuple[str, str]) -> Iterator[None]:
    """The file systems (type, folder) are not mounted."""
    for _, folder in mounts:
        while subprocess.run(["umount", folder], capture_output=True, check=False).returncode == 0:
            pass
    try:
        yield
    finally:
        for kind, folder in reversed(mounts):
            subprocess.run(["mount", "-t", kind, kind, folder], check=True)


def few_capabilities() -> None:
    """As docker run gives them."""
    prctl = ctypes.CDLL(None).prctl
    for number in (_CAP_SYS_ADMIN, _CAP_PERFMON, _CAP_BPF):
        prctl(_PR_CAPBSET_DROP, number, 0, 0, 0)


def nothing_mounted() -> dict[str, Any]:
    with without(("tracefs", f"{DEBUG}/tracing"), ("debugfs", DEBUG), ("tracefs", TRACING)):
        return asked()


def no_tracing() -> dict[str, Any]:
    """The one in debugfs serves as well."""
    with without(("tracefs", TRACING)):
        return asked()


def hidden() -> dict[str, Any]:
    before = KPTR.read_text("ascii")
    KPTR.write_text("2\n", "ascii")
    try:
        return asked()
    finally:
        KPTR.write_text(before, "ascii")


def container() -> dict[str, Any]:
    mark = Path("/run/.containerenv")
    mark.touch()
    try:
        return asked(preexec_fn=few_capabilities)
    finally:
        mark.unlink()


def locked(mode: str) -> dict[str, Any]:
    """From now on: lockdown is only ever raised."""
    if not LOCKDOWN.exists():
        subprocess.run(
            ["mount", "-t", "securityfs", "securityfs", str(LOCKDOWN.parent)], check=True
        )
    write(LOCKDOWN, mode)
    return asked()


SCENARIOS: dict[str, Callable[[], Any]] = {
    "all": asked,
    "nothing mounted": nothing_mounted,
    "no tracing": no_tracing,
    "kptr_restrict": hidden,
    "user namespace": lambda: asked("unshare", "-U", "-r", "-m"),
    "container": container,
    "integrity": lambda: locked("integrity"),
    "confidentiality": lambda: locked("confidentiality"),
}


def main() -> None:
    os.chdir("/tmp")
    found: dict[str, Any] = {}
    for name, scenario in SCENARIOS.items():
        try:
            found[name] = scenario()
        except Exception as error:  # the other scenarios must run
            found[name] = {"error": repr(error)}
        with contextlib.suppress(OSError):  # lockdown
            found[name]["left"] = left()
    print(json.dumps(found))


if __name__ == "__main__":
    main()
