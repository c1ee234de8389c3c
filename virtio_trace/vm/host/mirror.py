# SPDX-License-Identifier: GPL-2.0-or-later
"""The Debian mirror that this machine uses, as apt itself knows it.

apt is asked for its sources because it knows every form in which they can be written.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from virtio_trace.errors import CannotTraceError
from virtio_trace.vm.host.programs import run

_DEBIAN = {
    *("bullseye", "bookworm", "trixie", "forky", "duke", "sid", "experimental"),
    *("oldoldstable", "oldstable", "stable", "testing", "unstable"),
}
_POCKETS = ("-updates", "-security", "-backports", "-proposed-updates", "-backports-sloppy")


@dataclass(frozen=True, slots=True)
class Mirror:
    """A machine's Debian mirror. ``security`` is None if the machine has no such entry.

    ``options`` are further deb822 lines of its entry (``Signed-By: ...``), one per line.
    """

    archive: str
    security: str | None
    options: str = ""

    def sources(self, suite: str) -> str:
        """The deb822 text for SUITE and, for a release, its updates and security suites."""
        return "\n".join(
            f"Types: deb\nURIs: {uri}\nSuites: {name}\nComponents: main\n{self.options}"
            for name in family(suite)
            if (uri := self.security if name.endswith("-security") else self.archive)
        )


def family(suite: str) -> tuple[str, ...]:
    """The suites to search for a package of SUITE: a release comes with its updates."""
    if suite in {"sid", "unstable", "experimental"} or suite.endswith(_POCKETS):
        return (suite,)
    return (suite, f"{suite}-updates", f"{suite}-security")


def parse_mirror(targets: str) -> Mirror:
    """Parses lines ``URI|RELEASE|SIGNED_BY|TRUSTED`` of apt-get indextargets.

    Raises CannotTraceError if none of them is a Debian archive.
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
            # apt prints a field that the entry lacks as its own placeholder.
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
