# SPDX-License-Identifier: GPL-2.0-or-later
"""Built-in drivers from kernel images, compared with the exports, objdump and bpftool."""

from __future__ import annotations

import os
import random
import re
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.unit import binutils
from virtio_trace.errors import BadInputError
from virtio_trace.kernel.drivers import in_image, inspect, layout
from virtio_trace.kernel.files import vmlinuz
from virtio_trace.kernel.files.btf import Btf
from virtio_trace.kernel.files.kallsyms import Kallsyms
from virtio_trace.kernel.files.vmlinux_memory import Image
from virtio_trace.vm.host import debian

KERNELS = {  # kallsyms' offsets: before the names; after, with per-CPU symbols; relative
    "6.1": "linux-image-cloud-amd64/bookworm",
    "6.12": "linux-image-cloud-amd64/trixie",
    "sid": "linux-image-cloud-amd64/sid",
}

MUTATIONS = int(os.environ.get("VIRTIO_TRACE_FUZZ", "800")) // 100


@dataclass(frozen=True)
class Case:
    """An unpacked kernel, and its file for other tools."""

    kernel: debian.KernelPackage
    path: Path
    image: Image
    symbols: Kallsyms
    sections: dict[str, tuple[int, int]]

    def bytes_of(self, section: str) -> tuple[int, bytes]:
        """Address of a section, and the bytes from its start; by readelf."""
        address, offset = self.sections[section]
        return address, self.image.data[offset:]


@pytest.fixture(scope="module", params=KERNELS)
def case(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    fetch: Callable[..., debian.KernelPackage],
) -> Case:
    kernel = fetch(KERNELS[request.param])
    data = vmlinuz.payload(kernel.vmlinuz.read_bytes(), "vmlinuz")
    path = tmp_path_factory.mktemp("image") / "vmlinux"
    path.write_bytes(data)
    found = re.findall(
        r"\] (\S+) +\w+ +([0-9a-f]{16}) ([0-9a-f]+) ", binutils.run("readelf", "-SW", path)
    )
    sections = {name: (int(address, 16), int(offset, 16)) for name, address, offset in found}
    image = Image(data, "vmlinux")
    return Case(kernel, path, image, Kallsyms(image), sections)


def _exports(case: Case) -> dict[str, int]:
    """struct kernel_symbol[]: each field is a distance from its own place
    (include/linux/export-internal.h); it has two or three fields."""
    address, raw = case.bytes_of("__ksymtab")
    strings, names = case.bytes_of("__ksymtab_strings")
    end = case.sections["__ksymtab_strings"][1] - case.sections["__ksymtab"][1]
    for size in (12, 8):
        out = {}
        for at in range(0, end - size + 1, size):
            value, name = struct.unpack_from("<ii", raw, at)
            start = address + at + 4 + name - strings
            text = names[start : names.find(b"\0", start)] if 0 <= start < len(names) else b""
            if not re.fullmatch(rb"[\w.]+", text):
                break
            out[text.decode()] = address + at + value
        else:
            return out
        if len(out) > 5000:  # another section follows
            return out
    raise AssertionError("no __ksymtab that is understood")


def test_exported_symbols_are_where_kallsyms_says(case: Case) -> None:
    exports = _exports(case)
    assert len(exports) > 5000
    text = [name for name, address in exports.items() if case.image.is_code(address)]
    assert len(text) > 4000
    for name in text:
        assert exports[name] in case.symbols.by_name[name], name
    assert len(case.symbols) > 80_000
    assert case.symbols.by_name["_stext"] == [case.sections[".text"][0]]


def test_the_function_around_an_address(case: Case) -> None:
    (start,) = case.symbols.by_name["really_probe"]
    assert case.symbols.function_around(start) == ("really_probe", 0)
    assert case.symbols.function_around(start + 5) == ("really_probe", 5)
    assert case.symbols.function_around(0) == (None, 0)
    assert case.symbols.function_around(1 << 63) == (None, 0)


def test_calls_equal_those_of_objdump(case: Case) -> None:
    """objdump disassembles whole functions: every call of two frequently called functions."""
    targets = {case.symbols.by_name[name][0] for name in ("driver_register", "device_add")}
    ours = case.image.calls(targets)
    assert len(ours) > 20
    starts = sorted(case.symbols.functions)
    for caller in dict.fromkeys(case.symbols.function_around(s.address)[0] for s in ours[:12]):
        assert caller
        (start,) = case.symbols.by_name[caller]
        end = next(at for at in starts if at > start)
        said = binutils.run(
            "objdump", "-d", f"--start-address={start}", f"--stop-address={end}", case.path
        )
        calls = re.findall(
            r"^([0-9a-f]{16}):.*\t(?:call|jmp) +(?:0x)?([0-9a-f]{16})", said, re.MULTILINE
        )
        theirs = {(int(at, 16), int(to, 16)) for at, to in calls if int(to, 16) in targets}
        assert theirs == {(s.address, s.target) for s in ours if start <= s.address < end}, caller


def test_built_in_drivers_are_read(case: Case, tmp_path: Path) -> None:
    found = inspect.inspect_image(case.kernel.vmlinuz)
    inside = {d.facts.name: d for d in found.drivers if d.facts.builtin}
    ways = {t.facts.name: t.facts for t in found.transports if t.builtin}
    if "virtio_pci" not in found.builtin:
        assert not inside and not ways
        return
    assert found.unknown == ()
    assert {d.facts.module for d in inside.values()} <= set(found.builtin)
    console = inside["virtio_console"]
    assert console.facts.ids == ((3, 0xFFFFFFFF),)
    assert console.features == (0, 1)
    pci = ways["virtio-pci"]
    assert (pci.struct, pci.matches) == ("virtio_pci_driver", ("pci:v00001AF4d*",))
    raw = tmp_path / "btf"
    raw.write_bytes(vmlinuz.btf_bytes(case.image.data, "vmlinux"))
    types = binutils.bpftool("btf", "dump", "file", raw)
    for facts, kind in [(d.facts, "virtio_driver") for d in inside.values()] + [
        (pci, "pci_driver")
    ]:
        members = binutils.members(types, kind)
        assert members
        (at,) = case.symbols.by_name[facts.struct]
        for member, (offset, is_function) in members.items():
            if is_function:
                address = case.image.number_at(at + offset)
                name = facts.functions[member]
                assert address in case.symbols.by_name[name] if name else address == 0


def test_the_call_path(case: Case) -> None:
    found = inspect.inspect_image(case.kernel.vmlinuz)
    if "virtio_pci" not in found.builtin:
        return
    calls = {(c.caller, c.callee): c for c in found.calls}
    add = calls["virtio_pci_probe", "register_virtio_device"]
    assert add.module == "virtio_pci"
    register = calls["virtio_pci_driver_init", "__pci_register_driver"]
    assert (register.module, register.argument) == ("virtio_pci", "virtio_pci_driver")
    for call in (add, register):
        assert call.caller
        (start,) = case.symbols.by_name[call.caller]
        assert case.image.bytes_at(start + call.offset - 1, 1) in (b"\xe8", b"\xe9")
        distance = case.image.number_at(start + call.offset, 4)
        assert distance is not None
        target = start + call.offset + 4 + distance - (distance >> 31 << 32)
        assert target in case.symbols.by_name[call.callee]


def test_an_image_without_symbols(case: Case, tmp_path: Path) -> None:
    """Without the digits, by which the tokens are found, kallsyms is not found."""
    data = re.sub(rb"(?<=\x00)0\x001\x002\x003\x00", b"a\x00b\x00c\x00d\x00", case.image.data)
    assert data != case.image.data
    with pytest.raises(BadInputError, match="no symbol table"):
        Kallsyms(Image(data, "x"))
    path = tmp_path / "vmlinux"
    path.write_bytes(data)
    found = inspect.inspect_image(path)
    assert found.drivers == ()
    assert "no symbol table" in found.unknown[0]


def test_damage_is_refused_or_has_no_effect(case: Case) -> None:
    chance = random.Random(8)
    types = layout.from_btf(Btf(vmlinuz.btf_bytes(case.image.data, "x"), "x"))
    digits = [
        m.start() for m in re.finditer(rb"0\x001\x002\x003\x004\x005\x006\x00", case.image.data)
    ]
    data = bytearray(case.image.data)
    refused = 0
    for i in range(MUTATIONS):
        around = chance.choice([0, *digits]) + chance.randrange(-2000, 4000)
        at = [max(0, around) + chance.randrange(64) for _ in range(40)]
        before = [data[position] for position in at]
        for position in at:
            data[position] = chance.randrange(256)
        try:
            image = Image(bytes(data), f"mutation {i}")
            in_image.read(image, Kallsyms(image), types, {})
        except BadInputError as error:
            assert "\n" not in str(error)
            refused += 1
        for position, byte in reversed(list(zip(at, before, strict=True))):
            data[position] = byte
    assert data == case.image.data
    assert 0 < refused < MUTATIONS


def test_other_files_are_refused(case: Case) -> None:
    for data in (
        b"",
        b"\x7fELF",
        case.image.data[:200],
        case.image.data[:18] + b"\xb7" + bytes(90),
    ):
        with pytest.raises(BadInputError):
            Image(data, "x")
    with pytest.raises(BadInputError, match="truncated"):
        Image(case.image.data[: len(case.image.data) // 2], "x")
