# SPDX-License-Identifier: GPL-2.0-or-later
"""An apt of the project's own: its lists, archives and suites, on the machine's own mirror.

The host's lists are neither read nor written, and nothing is installed; root is not needed. The
host's apt.conf stays in force (a proxy, a cache), and so do its sources: the mirror's address is
asked of apt itself, which knows every form in which it can be written.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from virtio_trace.errors import CannotTraceError, UsageError
from virtio_trace.vm.host import cache
from virtio_trace.vm.host.programs import Progress, ended, failed, find, run

SUITES = ("bookworm", "trixie", "trixie-backports", "sid", "bullseye")
"""Where a plain NAME is looked for after the host's own release, in this order."""

_DEBIAN = {
    *("bullseye", "bookworm", "trixie", "forky", "duke", "sid", "experimental"),
    *("oldoldstable", "oldstable", "stable", "testing", "unstable"),
}
_POCKETS = ("-updates", "-security", "-backports", "-proposed-updates", "-backports-sloppy")
FRESH = 86400.0
"""Seconds for which a suite's index is believed."""

# Read after every other file (apt's -c), for #clear is not obeyed in an APT_CONFIG, which is read
# first: the host's hooks would otherwise run, as root, at the end of our updates.
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
class Mirror:
    """A machine's Debian mirror. ``security`` is None where the machine has no such entry.

    ``options`` are further deb822 lines of its entry (``Signed-By: ...``), one a line.
    """

    archive: str
    security: str | None
    options: str = ""

    def sources(self, suite: str) -> str:
        """The deb822 text for SUITE and, where it is a release, its updates and security."""
        return "\n".join(
            f"Types: deb\nURIs: {uri}\nSuites: {name}\nComponents: main\n{self.options}"
            for name in family(suite)
            if (uri := self.security if name.endswith("-security") else self.archive)
        )


@dataclass(frozen=True, slots=True)
class Package:
    """One version of a binary package; ``depends`` has the first alternative of each."""

    name: str
    version: str
    depends: tuple[str, ...]


class GoneError(CannotTraceError):
    """The mirror's index names a file that the mirror does not have (any more)."""


def family(suite: str) -> tuple[str, ...]:
    """The suites in which a package of SUITE is looked for: a release comes with its updates."""
    if suite in {"sid", "unstable", "experimental"} or suite.endswith(_POCKETS):
        return (suite,)
    return (suite, f"{suite}-updates", f"{suite}-security")


def parse_mirror(targets: str) -> Mirror:
    """Reads lines ``URI|RELEASE|SIGNED_BY|TRUSTED`` of apt-get indextargets.

    Raises CannotTraceError where none of them is a Debian archive.
    """
    archive = security = None
    options = ""
    for line in targets.splitlines():
        uri, release, signed_by, trusted = line.split("|")
        base, _, pocket = release.partition("-")
        if base not in _DEBIAN:
            continue
        if pocket == "security":
            security = security or uri
            continue
        if archive is None:
            archive = uri
            # apt leaves a field that the entry does not have as the name that was asked for.
            options += f"Signed-By: {signed_by}\n" if not signed_by.startswith("$(") else ""
            options += f"Trusted: {trusted}\n" if not trusted.startswith("$(") else ""
    if archive is None:
        raise CannotTraceError(
            "this machine's apt has no entry for a Debian archive",
            "add one to /etc/apt/sources.list.d, or give --kernel VMLINUZ --modules DIR",
        )
    return Mirror(archive, security, options)


def mirror() -> Mirror:
    """The mirror that this machine uses. Raises CannotTraceError."""
    form = "$(REPO_URI)|$(RELEASE)|$(SIGNED_BY)|$(TRUSTED)"
    argv = ["apt-get", "indextargets", "--no-release-info", "--format", form]
    done = run(
        [*argv, "Created-By: Packages", "Component: main"], "reading this machine's apt sources"
    )
    return parse_mirror(done.stdout)


def host_release() -> str | None:
    """This machine's Debian codename; None on any other system."""
    try:
        text = Path("/etc/os-release").read_text("utf-8")
    except OSError:
        return None
    found = dict(re.findall(r'^([A-Z_]+)="?([^"\n]*)"?$', text, re.MULTILINE))
    return found.get("VERSION_CODENAME") if found.get("ID") == "debian" else None


class Suite:
    """One suite's apt state. Nothing is fetched before :meth:`refresh` is called.

    ARCHITECTURE is dpkg's word for another machine's than this one's.
    """

    def __init__(self, name: str, architecture: str | None = None) -> None:
        self.name = name
        self.architecture = architecture
        folder = f"{name}:{architecture}" if architecture else name
        self.base = cache.folder(cache.root() / "apt" / folder)

    @property
    def age(self) -> float:
        """Seconds since the index was fetched; infinite where it never was."""
        try:
            return time.time() - (self.base / "fetched").stat().st_mtime
        except OSError:
            return float("inf")

    def refresh(self, progress: Progress, fresh: float = FRESH) -> None:
        """Fetches the index unless it is younger than FRESH seconds.

        Raises UsageError when the mirror has no such suite, CannotTraceError when the mirror or
        apt is not to be had.
        """
        if 0 <= self.age < fresh:
            return
        self._write(mirror())
        what = f"fetching the package index of {self.name}"
        status, stderr = fetch(["apt-get", "-c", self._conf, "-q", "update"], what, progress)
        lists = self.base / "state" / "lists"
        # Its -updates or -security may be missing: the release itself may not.
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
        """The newest version of package NAME; None where this suite has none."""
        return next(iter(self.versions(name)), None)

    def versions(self, name: str) -> list[Package]:
        """Every version of package NAME that this suite has, the newest first.

        apt-cache takes a name that it does not know for a pattern: 7.x shows libgm2-17-x32-cross.
        """
        argv = ["apt-cache", "-c", self._conf, "show", name]
        done = run(argv, f"looking for {name} in {self.name}", check=False)
        found = [parse_package(stanza) for stanza in done.stdout.split("\n\n")]
        return [package for package in found if package is not None and package.name == name]

    def download(self, package: Package, into: Path, progress: Progress) -> Path:
        """Fetches the .deb into folder INTO, checked by apt.

        Raises GoneError when the mirror does not have what its index names, CannotTraceError.
        """
        what = f"fetching {package.name} {package.version}"
        wanted = f"{package.name}={package.version}"
        argv = ["apt-get", "-c", self._conf, "-q", "download", wanted]
        status, stderr = fetch(argv, what, progress, cwd=into)
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
    """The first paragraph of ``apt-cache show``; None where there is none."""
    fields = dict(re.findall(r"^([A-Za-z-]+): (.*)$", stanza.split("\n\n", 1)[0], re.MULTILINE))
    if "Package" not in fields:
        return None
    relations = [part for part in fields.get("Depends", "").split(",") if part.strip()]
    names = (re.split(r"[\s(:|]", part.strip(), maxsplit=1)[0] for part in relations)
    return Package(fields["Package"], fields["Version"], tuple(names))


def fetch(
    argv: Sequence[str], what: str, progress: Progress, *, cwd: Path | None = None
) -> tuple[int, str]:
    """Runs an apt that fetches; gives its exit status and what it said on standard error.

    Raises CannotTraceError when apt cannot be run.
    """
    reader, writer = os.pipe()
    command = [find(argv[0]), "-o", f"APT::Status-Fd={writer}", *argv[1:]]
    progress(what, 0.0)
    try:
        with (
            subprocess.Popen(
                command,
                cwd=cwd,
                pass_fds=[writer],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                env={**os.environ, "LC_ALL": "C.UTF-8"},
            ) as apt,
            os.fdopen(reader, encoding="utf-8", errors="replace") as status,
        ):
            os.close(writer)
            with ended(apt):
                for line in status:
                    if found := re.match(r"dlstatus:\d+:([\d.]+):", line):
                        progress(what, min(float(found[1]) / 100, 0.99))
                stderr = apt.stderr.read().decode(errors="replace") if apt.stderr else ""
    except OSError as error:
        raise CannotTraceError(f"{what}: {argv[0]}: {error.strerror}") from error
    progress(what, 1.0)
    return apt.returncode, stderr
