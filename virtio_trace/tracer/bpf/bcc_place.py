# SPDX-License-Identifier: GPL-2.0-or-later
"""Why an interpreter cannot import BCC, and what to do.

BCC is the distribution's, in a folder of the system's interpreter. Others do not look there: a
virtual environment without system site packages, and an interpreter that was installed otherwise.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

INSTALL = "apt install python3-bpfcc (Debian, Ubuntu) or dnf install python3-bcc (Fedora)"
VENV = (
    "python3 -m venv --system-site-packages FOLDER, or pipx install --system-site-packages,"
    " with the system's python3 (/usr/bin)"
)

_PLACES = ("lib/python3/dist-packages", "lib*/python3.*/site-packages")


def why_not(prefix: str, base_prefix: str, usr: Path = Path("/usr")) -> tuple[str, str]:
    """Why the interpreter of PREFIX cannot import BCC, and a hint.

    PREFIX and BASE_PREFIX are sys.prefix and sys.base_prefix: they differ in a virtual environment.
    Only tests give another USR.
    """
    installed = any(path.is_dir() for place in _PLACES for path in usr.glob(f"{place}/bcc"))
    then = "" if installed else f"{INSTALL}; "
    if prefix != base_prefix and not _sees_system(Path(prefix)):
        return "this virtual environment does not see the system's packages", then + VENV
    if Path(base_prefix) != usr:
        return f"this Python, of {base_prefix}, does not look in the system's folders", then + VENV
    if installed:
        return "it is installed, but not for this version of Python", INSTALL
    return "it is not installed", INSTALL


def here() -> tuple[str, str]:
    """The same for this interpreter."""
    return why_not(sys.prefix, sys.base_prefix)


def _sees_system(environment: Path) -> bool:
    """Whether a virtual environment was made with system site packages (Lib/site.py, venv)."""
    try:
        text = (environment / "pyvenv.cfg").read_text("utf-8", errors="replace")
    except OSError:
        return True
    found = re.search(r"^include-system-site-packages\s*=\s*(\w+)", text, re.M | re.I)
    return found is not None and found[1].lower() == "true"
