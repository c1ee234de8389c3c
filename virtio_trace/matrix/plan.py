# SPDX-License-Identifier: GPL-2.0-or-later
"""A plan: kernels by boards of devices, read from TOML. docs/matrix.md describes the file.

A plan may come from somebody else. Every key, name and path is checked before anything is fetched
or started, and what it says becomes arguments of ``boot`` and ``check``, never a shell's text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from virtio_trace.errors import BadInputError
from virtio_trace.matrix import devices, keys
from virtio_trace.matrix.case import Case
from virtio_trace.matrix.plan_files import PlanFiles
from virtio_trace.matrix.settings import CONFORMS, Expectation, Settings, Source, merged
from virtio_trace.matrix.toml_file import Place, TomlFile

MOST_CASES = 100_000

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,63}")
"""Names become folders and parts of addresses."""

_SOURCES = (
    {"debian"},
    {"vmlinuz", "modules"},
    {"vmlinuz", "initrd"},
    {"vmlinuz", "modules", "initrd"},
    {"image"},
    {"image", "backing"},
)


@dataclass(frozen=True, slots=True)
class Plan:
    """A plan: its name, the kernels and boards in their order, and its cases."""

    name: str
    kernels: tuple[str, ...]
    boards: tuple[str, ...]
    cases: tuple[Case, ...]


def read(path: Path, *, allow: Sequence[Path] = (), trust: bool = False) -> Plan:
    """The plan in the file PATH. It may name files in its own folder and in ALLOW, and, with TRUST,
    QEMU's own options. Raises UsageError if it cannot be read, BadInputError if it is wrong."""
    file = TomlFile.read(path)
    return _Reader(file, PlanFiles(file, path.parent, allow), trust).plan(path.stem)


class _Reader:
    def __init__(self, file: TomlFile, files: PlanFiles, trust: bool) -> None:
        self._file, self._files, self._trust = file, files, trust
        self._data = file.data
        keys.check(file, (), self._data, keys.PLAN)
        self._kernels: dict[str, Any] = self._tables("kernel", keys.KERNEL)
        self._boards: dict[str, Any] = self._tables("board", keys.BOARD)
        self._sources = {name: self._source(name) for name in self._kernels}
        for name in self._boards:
            self._check_devices(name)
        for place, table in self._places():
            self._check_settings(place, table)

    def plan(self, name: str) -> Plan:
        found: dict[tuple[str, str], list[Case]] = {}
        for place, case in self._chosen():
            for kernel in self._named(place, case, "kernels", self._kernels):
                for board in self._named(place, case, "boards", self._boards):
                    if (kernel, board) in found:
                        message = f"kernel {kernel} with board {board} is in two [[case]]s"
                        raise self._file.error(place, message, "leave it out of one of them")
                    found[kernel, board] = list(self._cases(place, kernel, board, case))
        cases = [
            case
            for kernel in self._kernels
            for board in self._boards
            for case in found.get((kernel, board), ())
        ]
        if len(cases) > MOST_CASES:
            message = f"{self._file.name}: {len(cases)} cases are more than {MOST_CASES}"
            raise BadInputError(message, "split the plan")
        return Plan(name, tuple(self._kernels), tuple(self._boards), tuple(cases))

    def _tables(self, kind: str, known: dict[str, keys.Kind]) -> dict[str, Any]:
        tables: dict[str, Any] = self._data.get(kind, {})
        if not tables:
            raise BadInputError(f"{self._file.name}: no {kind}", f"add a table [{kind}.NAME]")
        for name, table in tables.items():
            place = (kind, name)
            if not isinstance(table, dict):
                raise self._file.error(place, f"{name} is not a table", f"write [{kind}.NAME]")
            if not _NAME.fullmatch(name):
                hint = "letters, digits, . _ + and -, and not more than 64"
                raise self._file.error(place, f"{name!r} cannot be the name of a {kind}", hint)
            keys.check(self._file, place, table, known)
        return tables

    def _chosen(self) -> Iterator[tuple[Place, dict[str, Any]]]:
        cases = self._data.get("case")
        if not cases:
            yield (), {}
            return
        for number, case in enumerate(cases):
            keys.check(self._file, ("case", number), case, keys.CASE)
            yield ("case", number), case

    def _places(self) -> Iterator[tuple[Place, dict[str, Any]]]:
        """Every table of settings."""
        yield (), self._data
        yield from ((("kernel", name), table) for name, table in self._kernels.items())
        yield from ((("board", name), table) for name, table in self._boards.items())
        yield from self._chosen()

    def _named(
        self, place: Place, case: dict[str, Any], key: str, known: dict[str, Any]
    ) -> list[str]:
        names = case.get(key, list(known))
        for name in names:
            if name not in known:
                message = f"unknown {key[:-1]} {name!r}"
                raise self._file.error((*place, key), message, f"known: {', '.join(known)}")
        return list(dict.fromkeys(names))

    def _source(self, name: str) -> Source:
        place, table = ("kernel", name), self._kernels[name]
        given = {key for key in keys.SOURCE if key in table}
        if given not in _SOURCES:
            message = f"kernel {name} has {', '.join(sorted(given)) or 'no files and no package'}"
            hint = "give debian, or vmlinuz with modules or initrd, or image"
            raise self._file.error(place, message, hint)
        if "debian" in given:
            return Source(debian=self._files.package((*place, "debian"), table["debian"]))
        return Source(
            vmlinuz=self._files.file(place, table, "vmlinuz"),
            modules=self._files.folder(place, table, "modules"),
            initrd=self._files.file(place, table, "initrd"),
            image=self._files.file(place, table, "image"),
            backing=tuple(
                self._files.inside((*place, "backing"), path) for path in table.get("backing", ())
            ),
        )

    def _check_devices(self, name: str) -> None:
        for device in self._boards[name].get("devices", ()):
            why = devices.wrong(device)
            if why is not None:
                hint = "such as virtio-net-pci,vectors=0; qemu takes other options, with --trust"
                place = ("board", name, "devices")
                raise self._file.error(place, f"device {device!r} {why}", hint)

    def _check_settings(self, place: Place, table: dict[str, Any]) -> None:
        if "qemu" in table and not self._trust:
            raise self._file.error(
                (*place, "qemu"),
                "QEMU's own options can read and write files of this machine",
                "if you trust the plan, add --trust",
            )
        if "until" in table:
            self._files.until((*place, "until"), table["until"])

    def _cases(self, place: Place, kernel: str, board: str, case: dict[str, Any]) -> Iterator[Case]:
        tables = [self._data, self._kernels[kernel], self._boards[board], case]
        places: list[Place] = [(), ("kernel", kernel), ("board", board), place]
        table = merged(tables)
        source = self._sources[kernel]
        for key, wrong in (("run", source.is_third_party), ("until", not source.is_third_party)):
            if wrong and key in table:
                at = next(p for p, t in zip(places, tables, strict=True) if key in t)
                what = "an image or an initrd" if key == "run" else "a kernel with our own root"
                raise self._file.error((*at, key), f"{key} does not go with {what}: {kernel}")
        settings = self._settings(table, tables, places)
        for number in range(1, settings.boots + 1):
            yield Case(kernel, board, number, source, settings)

    def _settings(
        self, table: dict[str, Any], tables: list[dict[str, Any]], places: list[Place]
    ) -> Settings:
        expect = table.get("expect", {})
        board = None
        for place, one in zip(places, tables, strict=True):
            if "board" in one.get("expect", {}):
                board = self._files.board((*place, "expect", "board"), one["expect"]["board"])
        verdict = expect.get("verdict", CONFORMS)
        errors = expect.get("errors")
        return Settings(
            devices=tuple(table["devices"]) if "devices" in table else None,
            append=table.get("append", ""),
            timeout=float(table.get("timeout", 300.0)),
            accel=table.get("accel", "auto"),
            collector=table.get("collector", "auto"),
            boot_events=table.get("boot_events", True),
            run=table.get("run"),
            until=table.get("until"),
            boots=table.get("boots", 1),
            qemu=tuple(table.get("qemu", ())),
            expect=Expectation(
                verdicts=(verdict,) if isinstance(verdict, str) else tuple(verdict),
                errors=None if errors is None else tuple(sorted(set(errors))),
                board=board,
                strict=expect.get("strict", False),
            ),
        )
