# SPDX-License-Identifier: GPL-2.0-or-later
"""What a boot loader would boot: GRUB's configuration, and Boot Loader Specification entries.

Pure: it is given texts. GRUB's is a script; what is read of it is what grub-mkconfig writes:
menu entries with their ``linux`` and ``initrd`` lines, and which of them is the default.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase


@dataclass(frozen=True, slots=True)
class BootEntry:
    """One entry: paths as its loader has them, and the kernel's options."""

    title: str
    linux: str
    initrds: tuple[str, ...] = ()
    options: str = ""


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
        """What it boots: a submenu, its own first entry; None where nothing can be booted."""
        menus = [self]
        while menus:  # no recursion: a file may nest them as deep as it likes
            menu = menus.pop()
            if menu.linux:
                return BootEntry(menu.title, menu.linux, menu.initrds, menu.options)
            menus += reversed(menu.inner)
        return None


_SET = re.compile(r"(?:^|[\s;])set\s+(\w+)=(\"[^\"]*\"|'[^']*'|[^\s;]*)")
_NUMBER = re.compile(r"[0-9]{1,9}")
_VARIABLE = re.compile(r"\$\{?(\w+)\}?")


def grub(text: str, environment: str = "") -> BootEntry | None:
    """The default entry of a grub.cfg; ENVIRONMENT is its grubenv. None where none has a kernel."""
    saved = dict(re.findall(r"^(\w+)=(.*)$", environment, re.M))
    menus, values = _grub_menus(text)
    default = values.get("default", "0")
    default = _VARIABLE.sub(lambda found: saved.get(found[1], ""), default) or "0"
    chosen = _choose(menus, default) or _choose(menus, "0")
    found = chosen.entry if chosen else None
    return found or next((entry for menu in menus if (entry := menu.entry)), None)


def _grub_menus(text: str) -> tuple[list[_Menu], dict[str, str]]:
    """The top level's entries and submenus, and the variables that are set outside of them.

    Of a default that is set twice, the plain one counts: the other is for one boot only.
    """
    top = _Menu("")
    stack: list[_Menu | None] = []  # None: a brace that is no menu's
    values: dict[str, str] = {}
    for line in text.replace("\\\n", " ").splitlines():
        words = _words(line)
        menu = next((item for item in reversed(stack) if item is not None), top)
        if words[:1] in (["menuentry"], ["submenu"]) and len(words) > 1:
            fresh = _Menu(words[1], _ident(words))
            menu.inner.append(fresh)
            stack.append(fresh)
            continue
        if words[:1] and re.fullmatch(r"linux(16|efi)?", words[0]) and len(words) > 1:
            menu.linux = words[1]
            menu.options = " ".join(_expand(word, values) for word in _raw_words(line)[2:]).strip()
        elif words[:1] and re.fullmatch(r"initrd(16|efi)?", words[0]):
            menu.initrds = tuple(words[1:])
        elif menu is top:
            for name, value in _SET.findall(line):
                plain = value.strip("\"'")
                if name != "default" or "next_entry" not in plain:
                    values[name] = plain
        code = line.split("#", 1)[0] if line.lstrip().startswith("#") else line
        if code.rstrip().endswith("{"):
            stack.append(None)
        elif code.strip() == "}" and stack:
            stack.pop()
    return top.inner, values


def _ident(words: list[str]) -> str:
    """An entry's id, which follows --id or, as grub-mkconfig has it, $menuentry_id_option."""
    for at, word in enumerate(words[:-1]):
        if word in ("--id", "$menuentry_id_option"):
            return words[at + 1]
    return ""


def _choose(menus: list[_Menu], default: str) -> _Menu | None:
    """The menu that DEFAULT names: by number, title or id, ``>`` before what is in a submenu."""
    found = None
    while default:
        first, _, default = default.partition(">")
        if _NUMBER.fullmatch(first):
            inner = menus[int(first)] if int(first) < len(menus) else None
        else:
            inner = next((menu for menu in menus if first in (menu.ident, menu.title)), None)
        if inner is None:
            return found
        found, menus = inner, inner.inner
    return found


def _words(line: str) -> list[str]:
    try:
        return shlex.split(line, comments=True)
    except ValueError:
        return line.split()


def _raw_words(line: str) -> list[str]:
    """Words with the quotes that are in them: the kernel wants them too."""
    return re.findall(r"""(?:[^\s"']|"[^"]*"|'[^']*')+""", line)


def _expand(word: str, values: Mapping[str, str]) -> str:
    """A variable that the file does not set outside of its entries is empty."""
    return _VARIABLE.sub(lambda found: values.get(found[1], ""), word)


def bls(files: Mapping[str, str], loader: str = "") -> BootEntry | None:
    """The default of the entries FILES (name to text) of loader/entries; LOADER is loader.conf.

    By loader.conf's pattern where one matches, else the newest version (uapi-group.org,
    Boot Loader Specification). None where no entry has a kernel.
    """
    found = []
    for name, text in files.items():
        keys: dict[str, list[str]] = {}
        for line in text.splitlines():
            key, _, value = line.strip().partition(" ")
            if key and not key.startswith("#"):
                keys.setdefault(key, []).append(value.strip())
        if "linux" not in keys:
            continue
        entry = BootEntry(
            title=keys.get("title", [name])[-1],
            linux=keys["linux"][-1],
            initrds=tuple(path for value in keys.get("initrd", ()) for path in value.split()),
            options=" ".join(keys.get("options", ())),
        )
        version = keys.get("version", [name])[-1]
        found.append((name.removesuffix(".conf"), version_key(version), entry))
    if not found:
        return None
    wanted = next(iter(re.findall(r"^default\s+(\S+)", loader, re.M)), None)
    for name, _version, entry in sorted(found, key=lambda item: item[1], reverse=True):
        if wanted is not None and fnmatchcase(name, wanted.removesuffix(".conf")):
            return entry
    return max(found, key=lambda item: item[1])[2]


def version_key(text: str) -> list[tuple[int, int, str]]:
    """Sorts as versions do: numbers by their value, before words; 6.1.0-9 is before 6.1.0-10."""
    parts = re.findall(r"([0-9]+)|([^0-9]+)", text)
    # More digits are a larger number: int() refuses to read thousands of them.
    return [
        (1, len(n := digits.lstrip("0")), n) if digits else (0, 0, word) for digits, word in parts
    ]
