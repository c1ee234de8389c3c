# SPDX-License-Identifier: GPL-2.0-or-later
"""What prevents a module from being loaded, or an init function from being called.

The kernel's command line (Documentation/admin-guide/kernel-parameters.txt: module_blacklist,
initcall_blacklist) and modprobe's configuration (modprobe.d(5)), which may also be given on the
command line (modprobe(8): modprobe.blacklist).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from pathlib import Path

from virtio_trace.kernel.running import sysfs
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
    """The rules about EVIDENCE's modules, and about every init function on the command line.

    Nothing else of the command line is kept: it may hold secrets. Never raises: a file that cannot
    be read has no rules.
    """
    modules = evidence.modules | set(evidence.builtin)
    return (*_command_line(root), *_modprobe(root, modules))


def _command_line(root: Path) -> Iterator[BlacklistRule]:
    """Everything that these parameters name: a driver's init function may be unknown."""
    for word in _WORD.findall(sysfs.content(root / "proc/cmdline")):
        name, equals, value = word.replace('"', "").partition("=")
        # To the kernel both are the same character (kernel/params.c, dash2underscore).
        name = name.replace("-", "_")
        if equals and name in _PARAMETERS:
            for what in filter(None, value.split(",")):
                initcall = name == INITCALL_BLACKLIST
                yield BlacklistRule(what if initcall else _module(what), name, COMMAND_LINE)


def _modprobe(root: Path, modules: Collection[str]) -> Iterator[BlacklistRule]:
    seen = set()
    for folder in _FOLDERS:
        for path in sysfs.entries(root / folder):
            if path.suffix != ".conf" or path.name in seen:
                continue  # a file of the same name in an earlier folder replaces it
            seen.add(path.name)
            for line in sysfs.content(path).replace("\\\n", " ").splitlines():
                words = line.split()
                if len(words) > 1 and words[0] in ("blacklist", "install"):
                    what = _module(words[1])
                    if what in modules:
                        yield BlacklistRule(what, words[0], f"/{folder}/{path.name}")


def _module(name: str) -> str:
    return name.replace("-", "_")
