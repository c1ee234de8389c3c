# SPDX-License-Identifier: GPL-2.0-or-later
"""Third-party disk images: Debian by mmdebstrap, with nothing of ours in it.

    python -m tests.vm.images [NAME ...]

builds them and prints their paths. Each is built once and kept in the cache. When the system is up,
a service prints the VirtIO bus on the console: the oracle from inside.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.vm import esp_image, oracle
from virtio_trace.vm.host import cache
from virtio_trace.vm.host.mirror import mirror

UUID = "5f6d1f0e-8b7c-4c39-9d51-0a5b1c3e7a11"
"""Of every root file system here."""

_KEYS = ("suite", "form", "packages", "grub", "size")
"""Fields of a recipe that always name an image in the cache; others do if they are set."""

_COMMON = ("systemd-sysv", "udev", "dbus", "kmod", "iproute2", "linux-image-cloud-amd64")
_MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class Recipe:
    """An image. ``form`` is qemu-img's. With ``grub`` it has a partition table, and a configuration
    that grub-mkconfig wrote on such a system; with ``esp`` (esp_image.py) it has an EFI system
    partition; else its file system is the whole disk. ``base``: the recipe with the same root."""

    suite: str
    form: str
    packages: tuple[str, ...] = ("initramfs-tools", "zstd")
    grub: bool = False
    size: int = 800
    esp: str = ""
    base: str = ""


RECIPES = {
    "bookworm": Recipe("bookworm", "raw", grub=True),
    "trixie": Recipe("trixie", "qcow2"),
    "dracut": Recipe("bookworm", "qcow2", ("dracut", "systemd-boot")),
    "uki": Recipe("bookworm", "qcow2", esp="uki", base="bookworm"),
    "bls": Recipe("bookworm", "raw", esp="bls", base="bookworm"),
}

_SHOW = (
    '#!/bin/sh\nexec >/dev/ttyS0\nat() { echo; echo "@@ $1"; }\n'
    + oracle.SYSFS
    + """show_bus final
at net
ip -4 -o addr show scope global
at environment
tr '\\0' '\\n' </proc/1/environ
at processes
grep -aH . /proc/[0-9]*/cmdline | tr '\\0' ' '
at mounts
cat /proc/1/mountinfo
at end
cat /run/out >/dev/ttyS0
"""
)

_FILES = {
    "etc/hostname": "guest\n",
    "etc/machine-id": "uninitialized\n",
    "etc/systemd/system.conf.d/quiet.conf": "[Manager]\nShowStatus=no\n",
    "etc/systemd/network/80-dhcp.network": "[Match]\nType=ether\n[Network]\nDHCP=ipv4\n",
    "etc/systemd/system/show.service": """[Unit]
Description=Show the VirtIO bus
Wants=network-online.target
After=network-online.target
[Service]
Type=oneshot
ExecStart=/usr/local/bin/show
[Install]
WantedBy=multi-user.target
""",
    "usr/local/bin/show": _SHOW,
}
_SETUP = """
chmod 755 usr/local/bin/show
systemctl --root . enable systemd-networkd.service show.service
systemctl --root . mask serial-getty@ttyS0.service
[ ! -e boot/grub/grub.cfg ] ||
    sed -i "s/6.1.0-56-cloud-amd64/$(ls usr/lib/modules)/g" boot/grub/grub.cfg
"""
_THIN = tuple(
    f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in ("doc", "locale", "man", "info")
)


def image(name: str) -> Path:
    """The image of RECIPES, built if it is not in the cache."""
    recipe = RECIPES[name]
    fields = {key: value for key, value in asdict(recipe).items() if value or key in _KEYS}
    what = [4, UUID, _FILES, _SETUP, fields, _grub(recipe), _packages(recipe)]
    what += [esp_image.OPTIONS] if recipe.esp else []
    return kept(name, recipe.form, what, lambda scratch: _build(name, recipe, scratch))


def kept(name: str, suffix: str, what: object, build: Callable[[Path], Path]) -> Path:
    """The cache's file NAME for WHAT, made by BUILD in a folder. Older ones are removed."""
    key = hashlib.sha256(json.dumps(what).encode()).hexdigest()[:12]
    path = cache.folder(cache.root() / "test-images") / f"{name}-{key}.{suffix}"
    with cache.lock(f"test-image-{name}"):
        if not path.exists():
            with cache.scratch("test-image") as scratch:
                build(scratch).replace(path)
            for old in path.parent.glob(f"{name}-*.{suffix}"):
                if old != path:
                    old.unlink()
    return path


def _packages(recipe: Recipe) -> list[str]:
    return [*_COMMON, *recipe.packages, *_THIN]


def debootstrap(suite: str, packages: Sequence[str], scratch: Path, *options: str) -> Path:
    """The system as PACKAGES make it, a tar archive. OPTIONS are mmdebstrap's."""
    tar, sources, settings = (scratch / n for n in ("root.tar.zst", "debian.sources", "apt.conf"))
    settings.write_text(_output("apt-config", "dump", "Acquire"))
    sources.write_text(mirror().sources(suite))
    _run(
        *("mmdebstrap", "--quiet", "--variant=apt", "--format=tar", *options),
        f"--aptopt={settings}",
        f"--include={','.join(packages)}",
        *(suite, str(tar), str(sources)),
        TMPDIR=str(scratch),
    )
    return tar


def _build(name: str, recipe: Recipe, scratch: Path) -> Path:
    what = [1, recipe.suite, _packages(recipe)]
    packages = (*_COMMON, *recipe.packages)
    tar = kept(
        *(f"{recipe.base or name}-root", "tar.zst", what),
        lambda folder: debootstrap(recipe.suite, packages, folder, *_THIN),
    )
    fs = file_system(tar, {**_FILES, **_grub(recipe)}, _SETUP, recipe.size, scratch)
    if recipe.esp:
        disk = esp_image.disk(recipe.esp, scratch / "root" / "boot", fs, scratch)
    else:
        disk = _partitioned(fs, scratch) if recipe.grub else fs
    if recipe.form == "raw":
        return disk
    target = scratch / f"disk.{recipe.form}"
    _run("qemu-img", "convert", "-f", "raw", "-O", recipe.form, str(disk), str(target))
    return target


def file_system(tar: Path, files: Mapping[str, str], setup: str, size: int, scratch: Path) -> Path:
    """An ext4 file system of SIZE MiB: TAR and FILES, after the shell script SETUP ran there."""
    root, fs = cache.folder(scratch / "root"), scratch / "root.ext4"
    for file, content in files.items():
        own = scratch / "files" / file
        own.parent.mkdir(parents=True, exist_ok=True)
        own.write_text(content)
    # Lines, not &&: sh -e ignores what fails within a list.
    script = (
        f"tar -xf {tar} -C {root}\ncp -r --remove-destination {scratch}/files/. {root}/\n"
        f"cd {root}\n{setup}\n"
        f"mke2fs -q -t ext4 -L root -U {UUID} -d . {fs} {size}M\n"
    )
    fake = [] if os.geteuid() == 0 else ["fakeroot"]
    _run(*fake, "sh", "-e", "-c", script, PATH=f"{os.environ['PATH']}:/usr/sbin:/sbin")
    return fs


def _partitioned(fs: Path, scratch: Path) -> Path:
    """The file system as the first partition of a disk, one MiB from its start."""
    disk = scratch / "disk.raw"
    with disk.open("wb") as file:
        file.truncate(fs.stat().st_size + 2 * _MIB)
    sfdisk = shutil.which("sfdisk", path=f"{os.environ['PATH']}:/usr/sbin:/sbin") or "sfdisk"
    table = f"label: gpt\nstart=1MiB, size={fs.stat().st_size // 512}, type=linux\n"
    subprocess.run([sfdisk, "-q", str(disk)], input=table.encode(), check=True)
    _run("dd", f"if={fs}", f"of={disk}", "bs=1M", "seek=1", "conv=notrunc,sparse", "status=none")
    fs.unlink()
    return disk


def _grub(recipe: Recipe) -> dict[str, str]:
    """grub.cfg, if the recipe has one."""
    if not recipe.grub:
        return {}
    return {"boot/grub/grub.cfg": (Path(__file__).parent / "grub.cfg").read_text("utf-8")}


def _run(*command: str, **environment: str) -> None:
    done = subprocess.run(
        command, check=False, capture_output=True, text=True, env={**os.environ, **environment}
    )
    assert done.returncode == 0, f"{command}: {done.stderr[-3000:]}"


def _output(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


if __name__ == "__main__":
    for _name in sys.argv[1:] or RECIPES:
        print(image(_name))
