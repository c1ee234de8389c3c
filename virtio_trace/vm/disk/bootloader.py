# SPDX-License-Identifier: GPL-2.0-or-later
"""The default boot entry in GRUB's configuration.

Pure: its input is text. The configuration is a script; this reads what grub-mkconfig writes:
menu entries with their ``linux`` and ``initrd`` lines, and which of them is the default.

The text may be hostile: nothing recurses, and lines, numbers and values have limits.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field

_LONGEST_LINE = 1 << 16
_LONGEST_VALUE = 1 << 12
_MOST_MENUS = 1 << 16
"""A number with more digits than this has names no entry."""


@dataclass(frozen=True, slots=True)
class BootEntry:
    """One entry: paths as in its loader's configuration, and the kernel's options. ``unified`` is
    the path of a unified kernel image; ``linux`` is "" then."""

    title: str
    linux: str = ""
    initrds: tuple[str, ...] = ()
    options: str = ""
    unified: str = ""


@dataclass(slots=True)
class _Menu:
    """An entry or a submenu of GRUB, while it is read."""

    title: str
    ident: str = ""
    linux: str = ""
    options: str = ""
    initrds: tuple[str, ...] = ()
    inner: list[_Menu] = field(default_factory=list)

    @property
    def entry(self) -> BootEntry | None:
        """What it boots. For a submenu: its first entry with a kernel, or None."""
        waiting = [self]
        while waiting:
            menu = waiting.pop()
            if menu.linux:
                return BootEntry(menu.title, menu.linux, menu.initrds, menu.options)
            waiting += reversed(menu.inner)
        return None


_SET = re.compile(r"(?:^|[\s;])set\s+(\w+)=(\"[^\"]*\"|'[^']*'|[^\s;]*)")
_VARIABLE = re.compile(r"\$\{?(\w+)\}?")
_COMMAND = re.compile(r"\s*(menuentry|submenu|linux(?:16|efi)?|initrd(?:16|efi)?)\s")


def grub(text: str, environment: str = "") -> BootEntry | None:
    """The default entry of a grub.cfg, whose grubenv is ENVIRONMENT; None if none has a kernel."""
    saved = variables(environment)
    menus, values = _grub_menus(text)
    default = values.get("default", "0")
    default = _VARIABLE.sub(lambda found: saved.get(found[1], ""), default) or "0"
    chosen = _choose(menus, default) or _choose(menus, "0")
    found = chosen.entry if chosen else None
    return found or next((entry for menu in menus if (entry := menu.entry)), None)


def variables(environment: str) -> dict[str, str]:
    """The variables of a grubenv."""
    return dict(re.findall(r"^(\w+)=(.*)$", environment, re.M))


def _grub_menus(text: str) -> tuple[list[_Menu], dict[str, str]]:
    """The top level's entries and submenus, and the variables set outside of them.

    If a default is set twice, the plain one counts: the other is for one boot only.
    """
    top = _Menu("")
    stack = [top]  # the innermost menu at each brace
    values: dict[str, str] = {}
    for line in text.replace("\\\n", " ").splitlines():
        if len(line) > _LONGEST_LINE:
            continue
        menu = stack[-1]
        words = _words(line) if _COMMAND.match(line) else []
        command = words[0] if len(words) > 1 else ""
        if command in ("menuentry", "submenu"):
            fresh = _Menu(words[1], _ident(words))
            menu.inner.append(fresh)
            stack.append(fresh)
            continue
        if command.startswith("linux"):
            menu.linux = words[1]
            menu.options = _options(line, values)
        elif command.startswith("initrd"):
            menu.initrds = tuple(words[1:])
        elif menu is top:
            for name, value in _SET.findall(line):
                plain = value.strip("\"'")
                if (name != "default" or "next_entry" not in plain) and len(plain) < _LONGEST_VALUE:
                    values[name] = plain
        code = line.strip()
        if code.endswith("{") and not code.startswith("#"):
            stack.append(menu)
        elif code == "}" and len(stack) > 1:
            stack.pop()
    return top.inner, values


def _ident(words: list[str]) -> str:
    """An entry's id, which follows --id or, in grub-mkconfig's output, $menuentry_id_option."""
    for at, word in enumerate(words[:-1]):
        if word in ("--id", "$menuentry_id_option"):
            return words[at + 1]
    return ""


def _choose(menus: list[_Menu], default: str) -> _Menu | None:
    """The menu that DEFAULT names: by number, title or id; ``>`` leads into a submenu."""
    found: _Menu | None = None
    for part in default.split(">"):
        if not part:
            return found
        inner = menus if found is None else found.inner
        number = _number(part)
        if number is not None:
            chosen = inner[number] if number < len(inner) else None
        else:
            chosen = next((menu for menu in inner if part in (menu.ident, menu.title)), None)
        if chosen is None:
            return found
        found = chosen
    return found


def _number(text: str) -> int | None:
    """A decimal number; None for other text. A huge one names no entry."""
    if not (text.isascii() and text.isdecimal()):
        return None
    return int(text) if len(text) < len(str(_MOST_MENUS)) else _MOST_MENUS


def _words(line: str) -> list[str]:
    try:
        return shlex.split(line, comments=True)
    except ValueError:
        return line.split()


def _options(line: str, values: Mapping[str, str]) -> str:
    """The words after the kernel, with variables expanded and with their quotes, which the kernel
    needs too. Options longer than any kernel's command line are cut."""
    found, size = [], 0
    for word in _raw_words(line)[2:]:
        found.append(expand(word, values))
        size += len(found[-1])
        if size > _LONGEST_LINE:
            break
    return " ".join(found).strip()


def _raw_words(line: str) -> list[str]:
    return re.findall(r"""(?:[^\s"']|"[^"]*"|'[^']*')+""", line)


def expand(word: str, values: Mapping[str, str]) -> str:
    """WORD with its variables. One that VALUES does not have is empty."""
    if word.count("$") > _LONGEST_VALUE // 16:
        return ""
    return _VARIABLE.sub(lambda found: values.get(found[1], ""), word)
