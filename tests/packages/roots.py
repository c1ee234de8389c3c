# SPDX-License-Identifier: GPL-2.0-or-later
"""Bare roots of Debian and Ubuntu, by mmdebstrap, from the mirror that this machine's apt uses."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import subprocess
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.vm.images import kept
from virtio_trace.vm.host.apt import Suite
from virtio_trace.vm.host.mirror import mirror
from virtio_trace.vm.host.programs import quiet

DEBIAN = ("bookworm", "trixie")
UBUNTU = ("noble",)

_CHANGES = ("proc", "sys", "dev", "tmp", "run", "root", "var/cache", "var/log", "var/lib/dpkg",
            "var/lib/apt")  # fmt: skip
"""What is no package's file, or changes whenever a package comes or goes."""


@dataclass(frozen=True)
class Root:
    """An unpacked root. Commands in it see its own /proc, and no /sys."""

    suite: str
    folder: Path

    def run(self, *command: str, status: int = 0, env: Mapping[str, str] = {}) -> str:
        """The output of COMMAND, run by root in it. Fails if it does not end with STATUS."""
        variables = {
            "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "HOME": "/root", "LC_ALL": "C.UTF-8", "DEBIAN_FRONTEND": "noninteractive",
            "COLUMNS": "80", **env,
        }  # fmt: skip
        apart = ("unshare", "--mount", "--pid", "--fork", "--kill-child")
        argv = [*apart, f"--mount-proc={self.folder}/proc", "chroot", str(self.folder), *command]
        done = subprocess.run(
            argv, env=variables, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            check=False, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        end = done.stdout[-4000:]
        assert done.returncode == status, f"{self.suite}: {command}: {done.returncode}\n{end}"
        return done.stdout

    def install(self, *packages: str, recommends: bool = False) -> str:
        """Install PACKAGES by apt-get."""
        less = () if recommends else ("--no-install-recommends",)
        return self.run("apt-get", "install", "-q", "-y", *less, *packages)

    def put(self, file: Path) -> str:
        """Copy FILE into it, and return its path there."""
        shutil.copy(file, self.folder / "tmp")
        return f"/tmp/{file.name}"

    def files(self) -> dict[str, str]:
        """Each file with a hash of its content, each folder and link."""
        found = {}
        for path in self.folder.rglob("*"):
            name = path.relative_to(self.folder).as_posix()
            if any(name == one or name.startswith(f"{one}/") for one in _CHANGES):
                continue
            if path.is_symlink():
                found[name] = f"-> {path.readlink()}"
            elif path.is_file():
                found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
            else:
                found[name] = "folder"
        return found


@contextlib.contextmanager
def root(suite: str) -> Iterator[Root]:
    """A new bare root of SUITE, removed at the end."""
    tar = kept(f"bare-{suite}", "tar", [2, suite, sources(suite)], lambda f: _make(suite, f))
    with tempfile.TemporaryDirectory(prefix="virtio-trace-root-") as name:
        folder = Path(name, "root")
        folder.mkdir()
        subprocess.run(["tar", "-xf", tar, "-C", folder], check=True)
        for file in ("resolv.conf", "hosts"):
            shutil.copy(f"/etc/{file}", folder / "etc" / file)
        for old in (folder / "etc/apt/sources.list.d").iterdir():
            old.unlink()
        (folder / "etc/apt/sources.list.d/test.sources").write_text(sources(suite))
        # The root is thrown away: dpkg need not wait for the disk.
        (folder / "etc/dpkg/dpkg.cfg.d/unsafe").write_text("force-unsafe-io\n")
        found = Root(suite, folder)
        found.run("apt-get", "update", "-q")
        yield found


def suites() -> list[str]:
    """The suites that this machine's mirror has."""
    return [*DEBIAN, *(suite for suite in UBUNTU if _is_there(suite))]


def sources(suite: str) -> str:
    """The deb822 text for SUITE."""
    if suite in DEBIAN:
        return mirror().sources(suite)
    return (
        f"Types: deb\nURIs: {_ubuntu()}\nSuites: {suite} {suite}-updates\n"
        "Components: main universe\nSigned-By: /usr/share/keyrings/ubuntu-archive-keyring.gpg\n"
    )


def _ubuntu() -> str:
    """Where a mirror has Ubuntu that has Debian in a folder ``debian``."""
    base, _, name = mirror().archive.rstrip("/").rpartition("/")
    return f"{base}/ubuntu" if name == "debian" else ""


def _is_there(suite: str) -> bool:
    try:
        with urllib.request.urlopen(f"{_ubuntu()}/dists/{suite}/Release", timeout=20):
            return True
    except (urllib.error.URLError, ValueError):
        return False


def _make(suite: str, scratch: Path) -> Path:
    tar, text, settings = (scratch / name for name in ("root.tar", "apt.sources", "apt.conf"))
    dump = ["apt-config", "dump", "Acquire"]
    settings.write_text(subprocess.run(dump, check=True, capture_output=True, text=True).stdout)
    text.write_text(sources(suite))
    keyring = [] if suite in DEBIAN else [f"--keyring={_ubuntu_keyring(scratch)}"]
    command = ["mmdebstrap", "--quiet", "--mode=root", "--variant=apt", "--format=tar"]
    if keyring:
        # Signed-By is a path on this machine and, later, in the root.
        text.write_text(text.read_text().replace("/usr/share/keyrings/", f"{scratch}/"))
    options = [f"--aptopt={settings}", *keyring]
    done = subprocess.run(
        [*command, *options, suite, tar, text], env={**os.environ, "TMPDIR": str(scratch)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return tar


def _ubuntu_keyring(scratch: Path) -> Path:
    """Ubuntu's keys, from the package that Debian has of them."""
    suite = Suite("trixie")
    suite.refresh(quiet)
    package = suite.show("ubuntu-keyring")
    assert package is not None
    deb = suite.download(package, scratch, quiet)
    subprocess.run(["dpkg-deb", "-x", deb, scratch / "keys"], check=True)
    name = "ubuntu-archive-keyring.gpg"
    return (scratch / "keys/usr/share/keyrings" / name).rename(scratch / name)
