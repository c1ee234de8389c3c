# SPDX-License-Identifier: GPL-2.0-or-later
"""Whether this process runs in a container: what kind, and whether its root is the machine's."""

from __future__ import annotations

from pathlib import Path

from virtio_trace.kernel.running import sysfs

_FIRST_USERS, _FIRST_PIDS = "user:[4026531837]", "pid:[4026531836]"
"""The first namespaces (include/linux/proc_ns.h: PROC_USER_INIT_INO, PROC_PID_INIT_INO)."""

_NAMES = {
    "docker": "a Docker container",
    "podman": "a Podman container",
    "lxc": "an LXC container",
    "lxc-libvirt": "an LXC container",
    "systemd-nspawn": "a systemd-nspawn container",
    "oci": "a container",
}
"""The values of ``container`` (https://systemd.io/CONTAINER_INTERFACE)."""


def container(proc: Path = Path("/proc")) -> str | None:
    """``a Docker container``; None: no sign of one. A container may hide that it is one."""
    root = proc.parent
    kind = _variable(proc / "1/environ") or sysfs.text(root / "run/systemd/container") or ""
    if not kind and sysfs.exists(root / "run/.containerenv"):
        kind = "podman"
    if not kind and sysfs.exists(root / ".dockerenv"):
        kind = "docker"
    if kind:
        return _NAMES.get(kind, f"a container ({kind})")
    if sysfs.target(proc / "self/ns/pid") not in (None, _FIRST_PIDS):
        return "a container (a PID namespace)"
    if in_user_namespace(proc):
        return "a user namespace"
    return None


def in_user_namespace(proc: Path = Path("/proc")) -> bool:
    """Whether our privileges hold in a user namespace only (user_namespaces(7))."""
    return sysfs.target(proc / "self/ns/user") not in (None, _FIRST_USERS)


def _variable(environ: Path) -> str:
    """``container`` in the environment of the first process, which is not ours to read always."""
    for one in (sysfs.data(environ) or b"").split(b"\0"):
        if one.startswith(b"container="):
            return one.removeprefix(b"container=").decode("utf-8", "replace")
    return ""
