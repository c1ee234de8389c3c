# SPDX-License-Identifier: GPL-2.0-or-later
"""A private apt: lists, archives and suites of its own, on the machine's own mirror.

The host's lists are neither read nor written, nothing is installed, and root is not needed. The
host's apt.conf stays in force (a proxy, a cache).
"""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from virtio_trace.errors import CannotTraceError, UsageError
from virtio_trace.vm.host import cache
from virtio_trace.vm.host.children import Limits
from virtio_trace.vm.host.mirror import Mirror, mirror
from virtio_trace.vm.host.programs import Progress, failed, follow, run

SUITES = ("bookworm", "trixie", "trixie-backports", "sid", "bullseye")
"""The suites searched for a plain NAME after the host's own release, in this order."""

FRESH = 86400.0
"""Seconds for which a suite's index is trusted."""

_LIMITS = Limits(seconds=7200, stall=120)
_DONE = re.compile(r"dlstatus:[0-9]{1,9}:([0-9]{1,3}(?:\.[0-9]{1,9})?):")

# Passed by apt's -c, which is read after every other file. #clear has no effect in an APT_CONFIG,
# which is read first: the host's hooks would then run, as root, at the end of our updates.
_CONF = """\
Dir::State "{base}/state";
Dir::State::lists "{base}/state/lists";
Dir::State::status "{base}/status";
Dir::Cache "{base}/cache";
Dir::Cache::archives "{base}/cache/archives";
Dir::Etc::SourceList "/dev/null";
Dir::Etc::SourceParts "{base}/sources.list.d";
Dir::Etc::Preferences "/dev/null";
Dir::Etc::PreferencesParts "/dev/null";
APT::Sandbox::User "root";
Acquire::Languages "none";
#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
#clear APT::Default-Release;
"""
_FOREIGN = """\
APT::Architecture "{architecture}";
#clear APT::Architectures;
APT::Architectures {{ "{architecture}"; }};
"""


@dataclass(frozen=True, slots=True)
class Package:
    """One version of a binary package; ``depends`` has the first alternative of each."""

    name: str
    version: str
    depends: tuple[str, ...]


class GoneError(CannotTraceError):
    """The mirror's index names a file that the mirror no longer has, or does not have yet."""


class Suite:
    """One suite's apt state. Nothing is fetched before :meth:`refresh` is called.

    ARCHITECTURE is dpkg's name of a foreign architecture; None for this machine's.
    """

    def __init__(self, name: str, architecture: str | None = None) -> None:
        self.name = name
        self.architecture = architecture
        folder = f"{name}:{architecture}" if architecture else name
        self.base = cache.folder(cache.root() / "apt" / folder)

    @property
    def age(self) -> float:
        """Seconds since the index was fetched; infinite if it never was."""
        try:
            return time.time() - (self.base / "fetched").stat().st_mtime
        except OSError:
            return float("inf")

    def refresh(self, progress: Progress, fresh: float = FRESH) -> None:
        """Fetches the index unless it is younger than FRESH seconds.

        Raises UsageError when the mirror has no such suite, CannotTraceError when the mirror
        cannot be reached or apt fails.
        """
        if 0 <= self.age < fresh:
            return
        self._write(mirror())
        what = f"fetching the package index of {self.name}"
        status, stderr = fetch(
            ["apt-get", "-c", self._conf, "-q", "update"], what, progress, self.base
        )
        lists = self.base / "state" / "lists"
        # -updates or -security may be missing, the release itself may not.
        if not any(lists.glob(f"*_dists_{self.name}_*Release")):
            if " 404 " in stderr or "does not have a Release file" in stderr:
                shutil.rmtree(self.base, ignore_errors=True)
                raise UsageError(
                    f"this machine's Debian mirror has no suite {self.name}",
                    f"suites that Debian has: {', '.join(SUITES)}",
                )
            raise failed(what, "apt-get", status, stderr)
        (self.base / "fetched").touch()

    def show(self, name: str) -> Package | None:
        """The newest version of package NAME; None if this suite has none."""
        return next(iter(self.versions(name)), None)

    def versions(self, name: str) -> list[Package]:
        """Every version of package NAME in this suite, newest first.

        apt-cache treats an unknown name as a pattern: 7.x shows libgm2-17-x32-cross.
        """
        argv = ["apt-cache", "-c", self._conf, "show", name]
        done = run(argv, f"looking for {name} in {self.name}", check=False)
        found = [parse_package(stanza) for stanza in done.stdout.split("\n\n")]
        return [package for package in found if package is not None and package.name == name]

    def download(self, package: Package, into: Path, progress: Progress) -> Path:
        """Fetches the .deb into folder INTO. apt verifies it.

        Raises GoneError when the mirror lacks what its index names, CannotTraceError.
        """
        what = f"fetching {package.name} {package.version}"
        wanted = f"{package.name}={package.version}"
        argv = ["apt-get", "-c", self._conf, "-q", "download", wanted]
        status, stderr = fetch(argv, what, progress, into)
        found = list(into.glob(f"{package.name}_*.deb"))
        if status != 0 or not found:
            error = failed(what, "apt-get", status, stderr)
            raise GoneError(str(error), error.hint) if " 404 " in stderr else error
        return found[0]

    @property
    def _conf(self) -> str:
        return str(self.base / "apt.conf")

    def _write(self, source: Mirror) -> None:
        try:
            for name in ("state/lists/partial", "cache/archives/partial", "sources.list.d"):
                (self.base / name).mkdir(parents=True, exist_ok=True)
            (self.base / "status").touch()
            conf = _CONF.format(base=self.base)
            if self.architecture:
                conf += _FOREIGN.format(architecture=self.architecture)
            (self.base / "apt.conf").write_text(conf, "utf-8")
            sources = self.base / "sources.list.d" / "debian.sources"
            sources.write_text(source.sources(self.name), "utf-8")
        except OSError as error:
            raise cache.cannot("cannot write to the cache", self.base, error) from error


def parse_package(stanza: str) -> Package | None:
    """The first paragraph of ``apt-cache show``; None if there is none."""
    fields = dict(re.findall(r"^([A-Za-z-]+): (.*)$", stanza.split("\n\n", 1)[0], re.MULTILINE))
    if "Package" not in fields:
        return None
    relations = [part for part in fields.get("Depends", "").split(",") if part.strip()]
    names = (re.split(r"[\s(:|]", part.strip(), maxsplit=1)[0] for part in relations)
    return Package(fields["Package"], fields["Version"], tuple(names))


def fetch(argv: Sequence[str], what: str, progress: Progress, folder: Path) -> tuple[int, str]:
    """Runs an apt that fetches into FOLDER. Returns its exit status and its standard error.

    Raises CannotTraceError when apt cannot be run, stalls or fills the disk.
    """
    progress(what, 0.0)
    last = ""

    def on_line(line: str) -> bool:
        # On a full disk apt tries for ever and repeats its last line.
        nonlocal last
        if line == last:
            return False
        last = line
        if found := _DONE.match(line):
            progress(what, min(float(found[1]) / 100, 0.99))
        return True

    status, stderr = follow(
        argv, what, on_line, limits=_LIMITS, folder=folder, status_option="APT::Status-Fd"
    )
    progress(what, 1.0)
    return status, stderr
