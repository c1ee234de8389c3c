# SPDX-License-Identifier: GPL-2.0-or-later
"""What keeps a module from being loaded, or an init function from being called.

The kernel's command line (Documentation/admin-guide/kernel-parameters.txt: module_blacklist,
initcall_blacklist), and modprobe's configuration (modprobe.d(5)), which is on the command line too
(modprobe(8): modprobe.blacklist).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from pathlib import Path

from virtio_trace.recording.evidence import Evidence
from virtio_trace.recording.machine_state import (
    COMMAND_LINE,
    INITCALL_BLACKLIST,
    MODULE_BLACKLIST,
    BlacklistRule,
)

_FOLDERS = (
    "etc/modprobe.d",
    "run/modprobe.d",
    "usr/local/lib/modprobe.d",
    "usr/lib/modprobe.d",
    "lib/modprobe.d",
)
_PARAMETERS = (MODULE_BLACKLIST, "modprobe.blacklist", INITCALL_BLACKLIST)
_WORD = re.compile(r'(?:[^\s"]|"[^"]*")+')


def forbidden(evidence: Evidence, root: Path = Path("/")) -> tuple[BlacklistRule, ...]:
    """The rules about EVIDENCE's modules, whatever calls them; of the command line nothing else
    is kept, for it may have secrets. Never raises: what cannot be read forbids nothing."""
    modules = evidence.modules | set(evidence.builtin)
    return (*_command_line(root), *_modprobe(root, modules))


def _command_line(root: Path) -> Iterator[BlacklistRule]:
    """All that these parameters name: which init function is a driver's may be unknown."""
    for word in _WORD.findall(_text(root / "proc/cmdline")):
        name, equals, value = word.replace('"', "").partition("=")
        if equals and name.replace("-", "_") in _PARAMETERS:
            for what in filter(None, value.split(",")):
                initcall = name.replace("-", "_") == INITCALL_BLACKLIST
                yield BlacklistRule(what if initcall else _module(what), name, COMMAND_LINE)


def _modprobe(root: Path, modules: Collection[str]) -> Iterator[BlacklistRule]:
    seen = set()
    for folder in _FOLDERS:
        for path in _files(root / folder):
            if path.name in seen:
                continue  # one of the same name before it stands in its place
            seen.add(path.name)
            for line in _text(path).replace("\\\n", " ").splitlines():
                words = line.split()
                if len(words) > 1 and words[0] in ("blacklist", "install"):
                    what = _module(words[1])
                    if what in modules:
                        yield BlacklistRule(what, words[0], f"/{folder}/{path.name}")


def _files(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if path.suffix == ".conf")
    except OSError:
        return []


def _module(name: str) -> str:
    return name.replace("-", "_")


def _text(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8", "replace")
    except OSError:
        return ""
