# SPDX-License-Identifier: GPL-2.0-or-later
"""Makes the corpora of kernel files from Debian's kernels; see corpus/README.md.

Run ``python -m tests.fuzz.cut_kernel``. Needs objcopy, xz and zstd.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import struct
import subprocess
import tempfile
from pathlib import Path

from tests.fuzz.cut import keep
from tests.unit.conftest import KERNELS
from virtio_trace.kernel.drivers.layout import DRIVERS
from virtio_trace.kernel.files import compression, kallsyms, vmlinuz
from virtio_trace.kernel.files.vmlinux_memory import Image
from virtio_trace.vm.host import debian

_STRUCTS = {
    *DRIVERS, "device", "bus_type", "device_driver", "pci_dev", "platform_device", "pci_device_id",
    "virtio_device", "virtqueue", "virtio_config_ops", "module", "kobject",
}  # fmt: skip
_DROPPED = (
    ".BTF*",
    ".orc*",
    ".comment",
    "__mcount_loc",
    "__bug_table",
    ".smp_locks",
    "*_sites",
    ".ibt*",
    ".note.Linux",
)
_NAMES = 2060
"""The number of symbols. There is a marker for each 256 names; more than eight are needed."""


def modules(kernel: debian.KernelPackage, name: str, *files: str) -> None:
    """Keep FILES of KERNEL without the sections that no harness reads."""
    for file in files:
        (path,) = kernel.modules.rglob(file)
        with tempfile.TemporaryDirectory() as folder:
            cut = Path(folder) / "cut.ko"
            cut.write_bytes(compression.unpack(path.read_bytes(), file))
            options = [f"--remove-section={one}" for one in _DROPPED]
            options += [f"--remove-section=.rela{one}" for one in _DROPPED]
            if name != "arm64":  # objcopy may not know arm64; that file is small
                subprocess.run(("objcopy", "--strip-debug", *options, str(cut)), check=True)
            keep("elf", f"{file.partition('.')[0]}-{name}", cut.read_bytes())


def types(data: bytes) -> bytes:
    """BTF with only _STRUCTS and the types of their members; other pointers become void."""
    _magic, length, types_at, types_size, strings_at, strings_size = struct.unpack_from(
        "<IIIIII", data
    )
    raw = data[length + types_at :][:types_size]
    strings = data[length + strings_at :][:strings_size]
    found = [b""]
    at = 0
    while at < len(raw):
        _name, info, _size = struct.unpack_from("<III", raw, at)
        size = 12 + _more(info >> 24 & 31, info & 0xFFFF)
        found.append(raw[at : at + size])
        at += size
    kept = _reached(found, strings)
    return _packed(found, strings, kept)


def _more(kind: int, members: int) -> int:
    """The number of bytes after a struct btf_type (include/uapi/linux/btf.h)."""
    each = {4: 12, 5: 12, 6: 8, 13: 8, 15: 12, 19: 12}.get(kind, 0)
    return each * members or {1: 4, 3: 12, 14: 4, 17: 4}.get(kind, 0)


def _name(strings: bytes, entry: bytes) -> str:
    (at,) = struct.unpack_from("<I", entry)
    return strings[at : strings.index(b"\0", at)].decode()


def _uses(entry: bytes) -> list[int]:
    """The offsets in ENTRY of references to other types."""
    kind, members = entry[7] & 31, struct.unpack_from("<H", entry, 4)[0]
    if kind in (4, 5):
        return [12 + 12 * i + 4 for i in range(members)]
    if kind == 13:
        return [8, *(12 + 8 * i + 4 for i in range(members))]
    return {3: [12, 16]}.get(kind, [8] if kind in (2, 8, 9, 10, 11, 12, 14, 17, 18) else [])


def _reached(found: list[bytes], strings: bytes) -> dict[int, int]:
    """The new number of each type that is kept, by its old number."""
    first: dict[str, int] = {}
    for number, entry in enumerate(found[1:], 1):
        if entry[7] & 31 == 4 and _name(strings, entry) in _STRUCTS:
            first.setdefault(_name(strings, entry), number)
    todo, kept = list(first.values()), set(first.values())
    while todo:
        entry = found[todo.pop()]
        for at in _uses(entry):
            (number,) = struct.unpack_from("<I", entry, at)
            far = entry[7] & 31 in (2, 13) and found[number][7:8] not in (b"", b"\x0d")
            if number and number not in kept and not far:
                kept.add(number)
                todo.append(number)
    return {old: new for new, old in enumerate(sorted(kept), 1)}


def _packed(found: list[bytes], strings: bytes, kept: dict[int, int]) -> bytes:
    texts = bytearray(b"\0")

    def text(at: int) -> int:
        name = strings[at : strings.index(b"\0", at) + 1]
        place = texts.find(name)
        if place < 0:
            place = len(texts)
            texts.extend(name)
        return place

    out = bytearray()
    for old in kept:
        entry = bytearray(found[old])
        kind, members = entry[7] & 31, struct.unpack_from("<H", entry, 4)[0]
        for at in _uses(found[old]):
            struct.pack_into("<I", entry, at, kept.get(struct.unpack_from("<I", entry, at)[0], 0))
        each = {4: 12, 5: 12, 6: 8, 13: 8, 19: 12}.get(kind, 0)
        for at in (0, *(12 + each * i for i in range(members if each else 0))):
            struct.pack_into("<I", entry, at, text(struct.unpack_from("<I", entry, at)[0]))
        out += entry
    head = struct.pack("<HBBIIIII", 0xEB9F, 1, 0, 24, 0, len(out), len(out), len(texts))
    return head + bytes(out) + bytes(texts)


def symbols(found: kallsyms.Kallsyms, more: list[str]) -> tuple[bytes, bytes]:
    """kallsyms with the _NAMES shortest names of a kernel, and MORE. Returns two parts: everything
    before the token table; the token table and its index."""
    tokens = found._tokens
    short = sorted(set(found._names), key=lambda name: (len(name), name))[: _NAMES - 1]
    packed = [b"T_text", *short, *(one.encode() for one in more)]
    raw, markers = bytearray(), []
    for number, name in enumerate(packed):
        if number % 256 == 0:
            markers.append(len(raw))
        raw += bytes((len(name),)) + name
    raw += bytes(-len(raw) % 8)
    before = struct.pack("<Q", len(packed)) + bytes(raw)
    before += struct.pack(f"<{len(markers)}I", *markers)
    table = b"".join(token + b"\0" for token in tokens)
    begins = [sum(len(token) + 1 for token in tokens[:i]) for i in range(256)]
    after = table + bytes(-len(table) % 8) + struct.pack("<256H", *begins)
    return before + bytes(-len(before) % 8), after


def flat(found: kallsyms.Kallsyms) -> bytes:
    """An arm64 Image with nothing but symbols."""
    before, after = symbols(found, [])
    offsets = struct.pack(f"<{_NAMES}i", *range(_NAMES))
    return bytes(64) + before + after + bytes(-len(before + after) % 8) + offsets + bytes(32)


_BASE, _TEXT, _DATA = 0xFFFFFFFF81000000, 0x100, 0x1200


def vmlinux(found: kallsyms.Kallsyms) -> bytes:
    """An x86-64 vmlinux: one segment, one section of code, which registers one driver."""
    more = ["T__register_virtio_driver", "Tregister_virtio_device", "tthe_probe", "tthe_init"]
    before, after = symbols(found, more)
    where = [_NAMES + 256 * i for i in range(len(more))]
    register, device, probe, init = where
    code = bytearray(_DATA - _TEXT)
    code[init + 8 : init + 15] = b"\x48\xc7\xc7" + struct.pack("<i", _BASE + _DATA - (1 << 64))
    for at, target in ((init + 15, register), (probe + 9, device)):
        code[at : at + 5] = b"\xe8" + struct.pack("<i", target - at - 5)
    data = bytearray(0x200)
    name, ids = _BASE + _DATA + 0x100, _BASE + _DATA + 0x120
    for place, pointer in ((0, name), (144, ids), (192, _BASE + _TEXT + probe)):
        struct.pack_into("<Q", data, place, pointer)
    data[0x100:0x10B] = b"virtio_some"
    struct.pack_into("<II", data, 0x120, 3, 0xFFFFFFFF)
    offsets = struct.pack(f"<{_NAMES + len(more)}I", *range(_NAMES), *where)
    tables = before + after
    tables += bytes(-len(tables) % 8) + offsets
    tables += bytes(-len(tables) % 8) + struct.pack("<Q", _BASE + _TEXT) + bytes(16)
    size = _DATA + len(data) + len(tables)
    head = (
        b"\x7fELF\2\1\1"
        + bytes(9)
        + struct.pack("<HHIQQQIHHHHHH", 2, 62, 1, _BASE, 64, 120, 0, 64, 56, 1, 64, 1, 0)
    )
    head += struct.pack("<IIQQQQQQ", 1, 5, 0, _BASE, 0, size, size, 4096)
    head += struct.pack("<IIQQQQIIQQ", 0, 1, 6, _BASE + _TEXT, _TEXT, len(code), 0, 0, 1, 0)
    return head + bytes(_TEXT - len(head)) + bytes(code) + bytes(data) + tables


def packed(kernel: bytes) -> None:
    """KERNEL in each compression and each kind of image."""
    ways = {
        "gzip": gzip.compress(kernel, mtime=0),
        "xz": lzma.compress(kernel, check=lzma.CHECK_CRC32),
        "lzma": lzma.compress(kernel, lzma.FORMAT_ALONE),
        "bzip2": bz2.compress(kernel),
        "zstd": subprocess.run(
            ("zstd", "-cq", "-19"), input=kernel, check=True, capture_output=True
        ).stdout,
    }
    for name, data in ways.items():
        keep("compression", name, data)
        size = b"" if name == "gzip" else struct.pack("<I", len(kernel))
        keep("vmlinuz", f"bzimage-{name}", _bzimage(data + size))
    zboot = b"MZ\0\0zimg" + struct.pack("<II", 64, len(ways["zstd"]) + 4) + bytes(48)
    keep("vmlinuz", "zboot", zboot + ways["zstd"] + struct.pack("<I", len(kernel)))
    keep("vmlinuz", "image-gz", ways["gzip"])


def _bzimage(data: bytes) -> bytes:
    """One sector of setup code, then DATA (Documentation/arch/x86/boot.rst)."""
    head = bytearray(1024)
    head[0x1F1] = 1
    head[0x202:0x206] = b"HdrS"
    struct.pack_into("<II", head, 0x248, 0, len(data))
    return bytes(head) + data


def main() -> None:
    """Write all corpora of kernel files."""
    modular, other = debian.fetch(KERNELS["6.1"]), debian.fetch(KERNELS["6.12"])
    modules(modular, "6.1", "virtio-rng.ko", "virtio_mmio.ko")
    arm = debian.fetch("linux-image-cloud-arm64:arm64/trixie")
    modules(arm, "arm64", "virtio-rng.ko*")
    raw = vmlinuz.btf_bytes(compression.read_file(other.vmlinuz), "6.12")
    keep("btf", "6.12", types(raw))
    kernel = vmlinuz.payload(compression.read_file(other.vmlinuz), "6.12")
    found = kallsyms.Kallsyms(Image(kernel, "6.12"))
    keep("kallsyms", "flat", flat(found))
    keep("vmlinux", "one-driver", vmlinux(found))
    number = struct.pack("<IIII", 1, 1 << 24, 4, 32)
    ints = struct.pack("<HBBIIIII", 0xEB9F, 1, 0, 24, 0, 4096, 4096, 5) + 256 * number + b"\0int\0"
    packed(b"\x7fELF" + bytes(60) + b"Linux version 6.12.0-x (" + bytes(8) + ints)


if __name__ == "__main__":
    main()
