# SPDX-License-Identifier: GPL-2.0-or-later
"""A root for guests in which a test runs Python: a small Debian 12 with BCC and kmod, built once
and kept in the cache, and our package.

mmdebstrap unpacks the packages and installs none (variant ``extract``): no maintainer script runs,
and the guest needs no dpkg. The result is an uncompressed cpio: an emulated processor unpacks more
slowly than the file is read. These 280 MB take it 1.6 s.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import marshal
import os
import re
import sys
import tarfile
from pathlib import Path

from virtio_trace.bpf_source import bpf_folder
from virtio_trace.errors import CannotTraceError
from virtio_trace.vm.host import cache
from virtio_trace.vm.host.children import Limits
from virtio_trace.vm.host.mirror import mirror
from virtio_trace.vm.host.programs import Progress, failed, follow, quiet, run
from virtio_trace.vm.root import payload
from virtio_trace.vm.root.cpio import Writer, append_file

SUITE = "bookworm"
PYTHON = (3, 11)
"""The guest's Python: bookworm's."""
PYTHON_FOLDER = "usr/lib/python3/dist-packages"

PACKAGES = (
    "busybox-static",
    "dash",
    "kmod",
    "libpython3-stdlib",
    "python3-bpfcc",
    "python3-click",
    "python3-minimal",
    "python3-pyelftools",
    "python3-tabulate",
    "zstd",  # for .ko.zst: kmod does not need it, but bookworm's Python has no zstd
)

# Which files go in, by their path in the packages. The first matching rule decides; no match means
# no. What runs there never opens documentation, locales, dpkg, perl and the like.
_RULES = (
    (False, r"usr/lib/[^/]+/gconv/.*"),
    (False, r"usr/lib/python3\.\d+/(test|idlelib|lib2to3|ensurepip|tkinter|turtledemo)(/.*)?"),
    (False, r"usr/lib/python3\.\d+/(pydoc_data|distutils|unittest|config-[^/]+)(/.*)?"),
    (False, r"usr/lib/python3\.\d+/(.*/)?_test[^/]*"),
    (False, r"usr/lib/(systemd|binfmt\.d|mime|valgrind|init|tmpfiles\.d|sysusers\.d)(/.*)?"),
    (True, r"bin|sbin|lib|lib32|lib64|libx32|usr/lib(32|64|x32)?/.+"),
    (True, r"usr/bin/(busybox|dash|kmod|python3(\.\d+)?|zstd)"),
    (True, r"usr/sbin/(depmod|insmod|lsmod|modinfo|modprobe|rmmod)"),
)

# Merged /usr is created before the first package: ``extract`` runs no script that would create it.
# Byte code is unchecked: its source never changes in the guest. If a plain user may not change the
# root, Python starts more slowly and all else is the same.
_HOOKS = (
    "--setup-hook=for d in bin sbin lib lib64; do"
    ' mkdir -p "$1/usr/$d"; ln -sT "usr/$d" "$1/$d"; done',
    '--extract-hook=[ "$(id -u)" = 0 ] && as= || as="unshare --map-root-user";'
    ' $as chroot "$1" python3 -m compileall -q --invalidation-mode unchecked-hash'
    " /usr/lib/python3.11 /usr/lib/python3 || :",
)

UNUSED = 86400.0
"""Seconds after which an unused appliance of another recipe is removed from the cache."""

_LIMITS = Limits(seconds=7200, stall=900)

# What mmdebstrap prints when a step begins, and the part of the work done by then (measured).
_STEPS = (
    ("running apt-get update", 0.05),
    ("downloading packages", 0.2),
    ("extracting archives", 0.4),
    ("cleaning package lists", 0.7),
    ("creating tarball", 0.75),
)


def first(output: str) -> str:
    """The beginning of a script that is the first process in this root: what a bench needs, with
    the transport and two drivers loaded. It prints to OUTPUT from then on."""
    return f"""
unset LD_LIBRARY_PATH
/usr/bin/busybox mkdir -p /bin
/usr/bin/busybox --install -s /bin
export PATH=/usr/sbin:/usr/bin:/bin PYTHONDONTWRITEBYTECODE=1
mount -t proc proc /proc; mount -t sysfs sysfs /sys; mount -t devtmpfs devtmpfs /dev
mount -t tmpfs tmpfs /run
mount -t tracefs tracefs /sys/kernel/tracing; mount -t debugfs debugfs /sys/kernel/debug
echo 1 >/proc/sys/kernel/printk
exec >{output} 2>&1 </dev/null
cd /
modprobe -a virtio_pci virtio_net virtio_blk
"""


def key() -> str:
    """A hash of the recipe, 12 hexadecimal digits: another recipe is another file."""
    recipe = json.dumps([2, SUITE, PACKAGES, _RULES, _HOOKS])
    return hashlib.sha256(recipe.encode()).hexdigest()[:12]


def appliance(progress: Progress = quiet) -> Path:
    """The appliance's cpio, built if it is not in the cache.

    Concurrent callers build it once. Raises CannotTraceError when mmdebstrap fails, the mirror
    cannot be reached, or there is no space.
    """
    path = cache.root() / f"appliance-{key()}.cpio"
    with cache.lock("appliance"):
        if not path.exists():
            cache.sweep()
            with cache.scratch("appliance") as scratch:
                _build(scratch, path, progress)
        cache.use(path, "appliance-*.cpio", UNUSED)
    return path


def write(path: Path) -> None:
    """Writes to PATH what ``boot --root`` takes: the appliance, and our package as it is now.

    Raises CannotTraceError, OSError.
    """
    target = f"{PYTHON_FOLDER}/virtio_trace"
    with path.open("wb") as out:
        append_file(out, appliance())
        out.write(b"\0" * (-out.tell() % 4))  # an archive begins at a multiple of four bytes
        with Writer(out) as root:
            add_package(root, payload.PACKAGE, target)
            payload.add_tree(root, bpf_folder(), f"{target}/bpf")


def add_package(root: Writer, package: Path, target: str) -> None:
    """Adds the Python PACKAGE in folder TARGET; with byte code if our Python is the guest's.

    Compiling it takes an emulated processor a second or two.
    """
    for path in sorted(package.rglob("*.py")):
        name = f"{target}/{path.relative_to(package)}"
        source = path.read_bytes()
        root.file(name, source)
        if sys.version_info[:2] == PYTHON:
            cached = importlib.util.cache_from_source(name, optimization="")
            root.file(cached, byte_code(source, f"/{name}"))


def byte_code(source: bytes, name: str) -> bytes:
    """A .pyc that Python uses without checking its source (PEP 552, unchecked hash)."""
    code = compile(source, name, "exec", dont_inherit=True)
    head = importlib.util.MAGIC_NUMBER + (1).to_bytes(4, "little")
    return head + importlib.util.source_hash(source) + marshal.dumps(code)


def _build(scratch: Path, path: Path, progress: Progress) -> None:
    what = "building the guest's root"
    progress(what, 0.0)
    tar = scratch / "root.tar"
    _mmdebstrap(scratch, tar, what, progress)
    fresh = scratch / "appliance.cpio"
    progress(what, 0.85)
    try:
        convert(tar, fresh)
        fresh.replace(path)
    except (OSError, EOFError, tarfile.TarError) as error:
        reason = str(getattr(error, "strerror", None) or error)
        raise CannotTraceError(f"{what}: {path}: {reason}", "is there 1 GB free?") from error
    progress(what, 1.0)


def _mmdebstrap(scratch: Path, tar: Path, what: str, progress: Progress) -> None:
    """Lets mmdebstrap unpack the packages into a tar, and reports its progress."""
    sources = scratch / "debian.sources"
    settings = scratch / "apt.conf"
    # mmdebstrap does not read the host's apt.conf, which may have the proxy to the mirror.
    settings.write_text(run(["apt-config", "dump", "Acquire"], "reading apt's settings").stdout)
    sources.write_text(mirror().sources(SUITE), "utf-8")
    command = ["mmdebstrap", "--variant=extract", "--format=tar", *_HOOKS]
    command += [f"--include={','.join(PACKAGES)}", f"--aptopt={settings}", SUITE, str(tar)]
    if os.geteuid() != 0:
        # Nothing runs in the new root, so no user namespace (uidmap) is needed.
        command.insert(1, "--mode=chrootless")

    def on_line(line: str) -> bool:
        for step, done in _STEPS:
            if step in line:
                progress(what, done)
        return True

    argv = [*command, str(sources)]
    env = {"TMPDIR": str(scratch)}
    status, stderr = follow(argv, what, on_line, limits=_LIMITS, folder=scratch, env=env)
    if status != 0:
        raise failed(what, "mmdebstrap", status, stderr)


def wanted(name: str) -> bool:
    """Whether the file NAME of a package (a path without a leading slash) goes into the guest."""
    return next((keep for keep, rule in _RULES if re.fullmatch(rule, name)), False)


def convert(tar: Path, out: Path) -> None:
    """Writes the wanted files of a tar as a cpio.

    Raises OSError, EOFError, tarfile.TarError, BadInputError (see Writer).
    """
    with tarfile.open(tar) as archive, out.open("wb") as file, Writer(file) as root:
        root.folder("dev")
        # The kernel opens it for /init before anything is mounted.
        root.device("dev/console", 5, 1)
        root.device("dev/null", 1, 3, 0o666)
        for name in ("proc", "sys", "run", "root", "etc", "var"):
            root.folder(name)
        root.folder("tmp", 0o1777)
        root.link("usr/bin/sh", "dash")
        for member in archive:
            name = member.name.removeprefix("./")
            if not wanted(name):
                continue
            if member.isdir():
                root.folder(name)
            elif member.issym():
                root.link(name, member.linkname)
            elif member.isfile() or member.islnk():
                source = archive.extractfile(member)
                if source is not None:
                    root.file(name, source.read(), member.mode & 0o777)
