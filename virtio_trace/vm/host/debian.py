# SPDX-License-Identifier: GPL-2.0-or-later
"""Debian's kernel packages: fetched, unpacked into the cache with ``dpkg -x``, never installed."""

from __future__ import annotations

import re
import shutil
import time
from dataclasses import dataclass, replace
from pathlib import Path

from virtio_trace.errors import BadInputError, CannotTraceError, UsageError, VirtioTraceError
from virtio_trace.kernel.files import machine
from virtio_trace.vm.host import cache
from virtio_trace.vm.host.apt import FRESH, SUITES, GoneError, Package, Suite
from virtio_trace.vm.host.mirror import host_release
from virtio_trace.vm.host.programs import Progress, quiet, run

KEPT = 12
"""How many unpacked kernels stay in the cache (60 to 130 MB each): the most recently used."""

_SETTLED = 60.0
"""An index older than this many seconds may be stale, and is fetched again."""

# The part of a kernel's Depends that is the kernel. Up to 7.1 a metapackage leads to one
# linux-image-RELEASE with everything in it. From 7.2 that is a metapackage too, of linux-binary-,
# linux-base- and linux-modules-RELEASE. The plain linux-base has scripts for an installed system.
_PART = re.compile(r"linux-(image|binary|base|modules)-.+")


@dataclass(frozen=True, slots=True)
class KernelPackage:
    """A kernel's files, unpacked from its packages. ``modules`` is a …/lib/modules/RELEASE folder.

    ``note`` is a sentence for the user (such as: the mirror could not be reached), or empty.
    """

    package: str
    version: str
    release: str
    vmlinuz: Path
    modules: Path
    note: str = ""


_LONGEST = 200
"""Characters. Names become names of files and folders in the cache."""

_WANTED = re.compile(r"([a-z0-9][a-z0-9+.-]+)(?::([a-z0-9]+))?(?:/([a-z][a-z0-9-]*))?")


def parse(wanted: str) -> tuple[str, str | None]:
    """``NAME``, ``NAME/SUITE`` or ``NAME:ARCHITECTURE/SUITE`` to name and suite.

    Raises UsageError on anything else, and if boot does not support the architecture.
    """
    found = _WANTED.fullmatch(wanted) if len(wanted) <= _LONGEST else None
    if found is None:
        raise UsageError(
            f"{wanted[:_LONGEST]!r} is not a package name",
            "for example: linux-image-cloud-amd64/bookworm",
        )
    if found[2] and machine.by_debian(found[2]) is None:
        known = " and ".join(known.debian for known in machine.MACHINES)
        raise UsageError(f"{wanted}: boot knows {known}, not {found[2]}")
    return found[1], found[3]


def foreign(wanted: str) -> str | None:
    """dpkg's name of the architecture of package WANTED if it is foreign; None if it is native.

    WANTED has it as ``:ARCHITECTURE``, or at the end of the name (linux-image-cloud-arm64).
    """
    found = _WANTED.fullmatch(wanted)
    word = found[2] or found[1].rpartition("-")[2] if found else ""
    known = machine.by_debian(word)
    return None if known is None or known.native else known.debian


def fetch(
    wanted: str, progress: Progress = quiet, architecture: str | None = None
) -> KernelPackage:
    """The kernel of package WANTED (see :func:`parse`), from the cache if it is there.

    ARCHITECTURE, as dpkg names it, overrides the one in WANTED.

    A plain NAME is searched in the host's release, then in the others. Only the indexes of the
    suites searched are fetched. A filled cache needs no network.

    Raises UsageError when there is no such package or suite, CannotTraceError when apt or dpkg
    fails or the mirror cannot be reached, BadInputError when the package has no kernel.
    """
    name, suite = parse(wanted)
    architecture = architecture or foreign(wanted)
    of = f":{architecture}" if architecture else ""
    record = cache.root() / "apt" / "resolved" / f"{name}{of}@{suite or 'any'}.json"
    with cache.lock("kernels", progress):
        known = cache.read_json(record)
        old = _recall(known)
        if old is not None and 0 <= time.time() - float(known.get("at", 0)) < FRESH:
            return old
        try:
            key, kernel = _resolve(name, suite, architecture, progress)
        except CannotTraceError as error:
            if old is None:
                raise
            note = f"the mirror could not be reached ({error}); using {old.package} from the cache"
            return replace(old, note=note)
        found = {"at": time.time(), "key": key, "package": name, "version": kernel.version}
        cache.write_json(record, found)
        _prune()
        return kernel


def closure(suite: Suite, first: Package) -> list[Package]:
    """FIRST, then every package of the kernel that it leads to through Depends."""
    found = {first.name: first}
    queue = [first]
    while queue:
        for name in queue.pop(0).depends:
            if name in found or not _PART.fullmatch(name):
                continue
            package = suite.show(name)
            if package is not None:
                found[name] = package
                queue.append(package)
    return list(found.values())


def locate(tree: Path, package: str, version: str) -> KernelPackage:
    """Finds the kernel in an unpacked tree. Raises BadInputError if it has none."""
    folders = [
        folder
        for pattern in ("lib/modules/*", "usr/lib/modules/*")
        for folder in sorted(tree.glob(pattern))
        if (folder / "kernel").is_dir()
    ]
    if folders:
        modules = folders[0]
        release = modules.name
        for image in (
            tree / "boot" / f"vmlinuz-{release}",
            modules / "vmlinuz",
            tree / "usr/lib/modules" / release / "vmlinuz",
        ):
            if image.is_file():
                return KernelPackage(package, version, release, image, modules)
    raise BadInputError(
        f"package {package} {version} has no bootable kernel with modules",
        "name an image package: linux-image-amd64, linux-image-cloud-amd64",
    )


def _recall(known: object) -> KernelPackage | None:
    """The kernel of a record in the cache, if it is still unpacked."""
    if not isinstance(known, dict):
        return None
    try:
        tree = cache.root() / "kernels" / str(known["key"])
        kernel = locate(tree, str(known["package"]), str(known["version"]))
    except (KeyError, VirtioTraceError):
        return None
    tree.touch()  # the time of last use, for _prune
    return kernel


def _resolve(
    name: str, suite: str | None, architecture: str | None, progress: Progress
) -> tuple[str, KernelPackage]:
    for suite_name in _suites(suite):
        state = Suite(suite_name, architecture)
        try:
            state.refresh(progress)
        except UsageError:
            if suite is not None:
                raise
            continue  # mirrors need not have every suite
        if state.show(name) is not None:
            return _newest(state, name, progress)
    where = suite or "any suite of this machine's mirror"
    raise UsageError(
        f"there is no package {name} in {where}",
        "for example: linux-image-cloud-amd64/bookworm; see apt-cache search linux-image",
    )


def _newest(state: Suite, name: str, progress: Progress) -> tuple[str, KernelPackage]:
    """The newest version that the mirror has: it may list one that is gone or not there yet."""
    gone: GoneError | None = None
    for package in state.versions(name):
        try:
            key, kernel = _unpack(state, package, progress)
        except GoneError as error:
            if state.age > _SETTLED:
                state.refresh(progress, _SETTLED)
                return _newest(state, name, progress)
            gone = gone or error
        else:
            note = f"{gone}; using {name} {package.version}" if gone else ""
            return key, replace(kernel, note=note)
    raise gone or CannotTraceError(f"{name} is no longer in {state.name}", "try again")


def _suites(suite: str | None) -> list[str]:
    if suite is not None:
        return [suite]
    first = host_release()
    return list(dict.fromkeys([first, *SUITES] if first else SUITES))


def _unpack(suite: Suite, first: Package, progress: Progress) -> tuple[str, KernelPackage]:
    """Fetches and unpacks what is missing. Returns the folder's name and the kernel."""
    parts = closure(suite, first)
    # A kernel is unpacked once, whether named by its metapackage or by its own name.
    last = [part for part in parts if part.name.startswith("linux-image-")][-1:] or parts[:1]
    key = f"{last[0].name}_{last[0].version.replace(':', '%3a')}"
    tree = cache.root() / "kernels" / key
    if not tree.is_dir():
        cache.sweep()
        with cache.scratch("kernel") as scratch:
            debs = cache.folder(scratch / "debs")
            for part in parts:
                deb = suite.download(part, debs, progress)
                run(["dpkg", "-x", str(deb), str(scratch / "tree")], f"unpacking {deb.name}")
                deb.unlink()
            locate(scratch / "tree", first.name, first.version)
            cache.folder(tree.parent)
            (scratch / "tree").rename(tree)
    tree.touch()
    return key, locate(tree, first.name, first.version)


def _prune() -> None:
    """Removes all but the most recently used kernels."""
    trees = sorted((cache.root() / "kernels").iterdir(), key=lambda p: p.stat().st_mtime)
    for tree in trees[:-KEPT]:
        shutil.rmtree(tree, ignore_errors=True)
