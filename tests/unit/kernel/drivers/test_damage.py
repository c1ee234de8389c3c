# SPDX-License-Identifier: GPL-2.0-or-later
"""Damaged .ko files: each is read or refused in one line, in bounded time and memory.

VIRTIO_TRACE_FUZZ=2000 makes as many mutations; by default there are fewer.
"""

from __future__ import annotations

import os
import random
import resource
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from virtio_trace.cli import main
from virtio_trace.kernel.drivers import inspect, opened_image
from virtio_trace.kernel.drivers.inspection import Inspection
from virtio_trace.kernel.drivers.opened_image import OpenedImage, open_image
from virtio_trace.kernel.files import compression, vmlinuz
from virtio_trace.kernel.files.module_tree import ModuleTree
from virtio_trace.vm.host import debian

MUTATIONS = int(os.environ.get("VIRTIO_TRACE_FUZZ", "300"))
SECONDS = 2.0
MEMORY = 1 << 30
FILES = {
    "linux-image-cloud-amd64/bookworm": ("virtio_pci", "virtio_blk", "virtio_console"),
    "linux-image-cloud-amd64/trixie": ("virtio_net", "virtio_mmio", "virtio_rng"),
}

Mutation = Callable[[bytes, random.Random], bytes]


def truncated(data: bytes, chance: random.Random) -> bytes:
    return data[: chance.randrange(len(data))]


def flipped(data: bytes, chance: random.Random) -> bytes:
    """Flips bits, some of them in the header and in the section table."""
    out = bytearray(data)
    table = min(int.from_bytes(data[40:48], "little"), len(data) - 1)
    start, size = chance.choice([(0, 64), (table, len(data) - table), (0, len(data))])
    for _ in range(chance.choice((1, 8, 64))):
        out[start + chance.randrange(size)] ^= 1 << chance.randrange(8)
    return bytes(out)


def swapped(data: bytes, chance: random.Random) -> bytes:
    """Swaps two section headers: their offsets, their types, their links, or all of them."""
    table, count = int.from_bytes(data[40:48], "little"), int.from_bytes(data[60:62], "little")
    out = bytearray(data)
    first, second = (table + 64 * chance.randrange(1, count) for _ in range(2))
    begin, end = chance.choice([(24, 40), (4, 16), (40, 48), (0, 64)])
    one, other = out[first + begin : first + end], out[second + begin : second + end]
    out[first + begin : first + end], out[second + begin : second + end] = other, one
    return bytes(out)


def overwritten(data: bytes, chance: random.Random) -> bytes:
    """Copies a stretch of it elsewhere, as a damaged file system does."""
    size = chance.choice((16, 512, 4096))
    into, of = (chance.randrange(max(1, len(data) - size)) for _ in range(2))
    return data[:into] + data[of : of + size] + data[into + size :]


def damaged_xz(data: bytes, chance: random.Random) -> bytes:
    return _packed(data, chance, "xz", "-0c", "--check=crc32")


def damaged_zst(data: bytes, chance: random.Random) -> bytes:
    return _packed(data, chance, "zstd", "-1qc")


def _packed(data: bytes, chance: random.Random, *command: str) -> bytes:
    packed = subprocess.run(command, input=data, check=True, capture_output=True).stdout
    return chance.choice((truncated, flipped, overwritten))(packed, chance)


MUTATE: tuple[Mutation, ...] = (truncated, flipped, swapped, overwritten, damaged_xz, damaged_zst)


@pytest.fixture(scope="module")
def originals(fetch: Callable[..., debian.KernelPackage]) -> dict[str, tuple[bytes, OpenedImage]]:
    out = {}
    for package, names in FILES.items():
        kernel = fetch(package)
        opened = open_image(kernel.vmlinuz, whole=False)
        tree = ModuleTree(kernel.modules)
        for name in names:
            out[name] = tree.read(tree.files[name]), opened
    return out


@pytest.fixture
def bounded() -> Iterator[None]:
    """Allows MEMORY more bytes of address space than are in use."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + MEMORY, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)


def test_each_is_read_or_refused(
    originals: dict[str, tuple[bytes, OpenedImage]],
    bounded: None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    chance, ended = random.Random(9), Counter[str]()
    for i in range(MUTATIONS):
        name = chance.choice(list(originals))
        data, kernel = originals[name]
        mutate = MUTATE[i % len(MUTATE)]
        path = tmp_path / f"{name}.ko"
        path.write_bytes(mutate(data, chance))
        # The kernel's types are read once; half of the files go without them.
        known = i // len(MUTATE) % 2
        monkeypatch.setattr(vmlinuz, "find", lambda *_, k=kernel, n=known: k.path if n else None)
        monkeypatch.setattr(opened_image, "open_image", lambda *_, k=kernel, **__: k)
        began = time.process_time()
        found = inspect.inspect_files([path])
        assert time.process_time() - began < SECONDS, f"{i}: {mutate.__name__} of {name}"
        ended[f"{mutate.__name__} {_outcome(found, path)}"] += 1
    print(dict(sorted(ended.items())))
    for mutate in MUTATE:
        assert ended[f"{mutate.__name__} refused"] > 0
    assert ended["flipped read"] > 0
    assert sum(n for key, n in ended.items() if key.endswith("refused")) > MUTATIONS // 3


def _outcome(found: Inspection, path: Path) -> str:
    if found.unread:
        assert found.unread.keys() == {str(path)}
        reason = found.unread[str(path)]
        assert reason and "\n" not in reason and len(reason) < 300
        assert not found.drivers and not found.calls
        return "refused"
    assert found.to_json()["unread"] == {}
    return "read"


def test_the_originals_are_intact(
    originals: dict[str, tuple[bytes, OpenedImage]], tmp_path: Path
) -> None:
    for name, (data, _kernel) in originals.items():
        path = tmp_path / f"{name}.ko"
        path.write_bytes(data)
        found = inspect.inspect_files([path])
        assert found.unread == {}
        assert found.drivers or name in ("virtio_pci", "virtio_mmio")


@pytest.mark.parametrize("mutate", [truncated, damaged_xz, damaged_zst])
def test_a_refusal_is_one_line_and_a_hint(
    originals: dict[str, tuple[bytes, OpenedImage]],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    mutate: Mutation,
) -> None:
    path = tmp_path / "virtio_net.ko"
    path.write_bytes(mutate(originals["virtio_net"][0], random.Random(3)))
    assert main.run(["inspect", str(path)]) == 5
    said = capsys.readouterr()
    assert said.out == ""
    line, hint = said.err.splitlines()
    assert line.startswith(f"virtio-trace: {path}: ")
    assert hint.startswith("  ")


@pytest.mark.parametrize(("command", "what"), [("xz -0c", "xz"), ("zstd -19qc", "zst")])
def test_a_bomb_fills_no_memory(
    bounded: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str, what: str
) -> None:
    monkeypatch.setattr(compression, "SMALL", 8 << 20)
    packed = subprocess.run(
        command.split(), input=bytes(16 << 20), check=True, capture_output=True
    ).stdout
    assert len(packed) < 20_000
    path = tmp_path / f"bomb.ko.{what}"
    path.write_bytes(packed)
    found = inspect.inspect_files([path])
    assert "unpacks to more than 8 MB" in found.unread[str(path)]
