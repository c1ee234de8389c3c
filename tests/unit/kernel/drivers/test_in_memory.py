# SPDX-License-Identifier: GPL-2.0-or-later
"""kernel/drivers/in_memory.py and files/memory.py on constructed memory: the driver core's lists,
intact and damaged. tests/vm/test_builtin.py compares a real kernel's lists with sysfs."""

from __future__ import annotations

import json
import struct
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import pytest

from virtio_trace.errors import CannotTraceError
from virtio_trace.kernel.drivers import in_memory
from virtio_trace.kernel.drivers.in_memory import KernelView, Links, add_registered
from virtio_trace.kernel.drivers.layout import StructLayout
from virtio_trace.kernel.files.btf import Btf
from virtio_trace.kernel.files.memory import Kcore, Memory
from virtio_trace.kernel.files.module_tree import ModuleTree
from virtio_trace.kernel.running.proc_kallsyms import Addresses
from virtio_trace.recording.evidence import DriverFacts, Evidence

LINKS = Links(
    kset_list=0, kobject_entry=8, kobject_name=0, private_kobject=32, private_drivers=128,
    node_list=0, node_entry=8, driver_private_node=48, driver_private_driver=96, driver_owner=16,
)  # fmt: skip
SHAPE = StructLayout(
    size=80, name=0, id_table=24, functions={"validate": 56, "probe": 64},
    features=((32, 40), (48, 44)),
)  # fmt: skip
BUSES, TOP = 0x1000, 0x2000
ANY = 0xFFFFFFFF
SYMBOLS = (
    b"0000000000000100 t __pfx_con_probe\n"
    b"0000000000000100 t con_probe\n"
    b"0000000000000200 t gone_probe\t[gone]\n"
    b"0000000000001000 b bus_kset\n"
    b"0000000000003000 b bus_kset_other\n"
    b"0000000000006000 d con_driver\n"
    b"0000000000000300 d __initcall__kmod_virtio_con__1_2_con_init6\n"
)


class Made(Memory):
    """Bytes by address; only bytes that were written can be read."""

    def __init__(self) -> None:
        self.bytes: dict[int, int] = {}

    def bytes_at(self, address: int, size: int) -> bytes | None:
        found = [self.bytes.get(address + i) for i in range(size)]
        return None if None in found else bytes(b for b in found if b is not None)

    def put(self, address: int, data: bytes) -> int:
        self.bytes.update((address + i, byte) for i, byte in enumerate(data))
        return address

    def number(self, address: int, value: int, size: int = 8) -> None:
        self.put(address, value.to_bytes(size, "little"))

    def text(self, address: int, text: str) -> int:
        return self.put(address, text.encode() + bytes(300))

    def list(self, head: int, entries: list[int]) -> None:
        for at, following in zip([head, *entries], [*entries, head], strict=True):
            self.number(at, following)

    def driver(self, at: int, name: str, ids: tuple[int, ...], probe: int, owner: int = 0) -> int:
        """Writes a struct virtio_driver and its driver_private; returns the list entry."""
        self.put(at, bytes(SHAPE.size))
        for offset, value in (
            (SHAPE.name, self.text(at + 0x100, name)),
            (LINKS.driver_owner, owner),
            (24, self.put(at + 0x300, b"".join(struct.pack("<II", i, ANY) for i in ids))),
            (32, self.put(at + 0x400, struct.pack("<II", 5, 32))),
            (40, 2),
            (64, probe),
        ):  # fmt: skip
            self.number(at + offset, value)
        self.put(at + 0x300 + 8 * len(ids), bytes(8))
        private = at + 0x800
        self.number(private + LINKS.driver_private_driver, at)
        self.number(private + LINKS.driver_private_node + LINKS.node_list, 0x7000)
        return private + LINKS.driver_private_node + LINKS.node_entry


@pytest.fixture
def memory() -> Made:
    """Two buses; the second is VirtIO's, with a built-in driver and one of a module."""
    made = Made()
    made.number(BUSES, TOP)
    buses = {0x4000: "pci", 0x5000: "virtio"}
    for private, name in buses.items():
        kobject = private + LINKS.private_kobject
        made.number(kobject + LINKS.kobject_name, made.text(private + 0x200, name))
    places = [at + LINKS.private_kobject + LINKS.kobject_entry for at in buses]
    made.list(TOP + LINKS.kset_list, places)
    con = made.driver(0x6000, "virtio-con", (3, 11), 0x100)
    gone = made.driver(0x8000, "gone", (4,), 0x200, owner=0x9999)
    made.list(0x4000 + LINKS.private_drivers, [])
    made.list(0x5000 + LINKS.private_drivers, [con, gone])
    return made


@pytest.fixture
def running(tmp_path: Path) -> KernelView:
    (tmp_path / "modules.builtin").write_text("kernel/drivers/char/virtio_con.ko\n")
    (tmp_path / "modules.builtin.modinfo").write_bytes(
        b"virtio_con.alias=virtio:d00000003v*\0virtio_con.alias=char-major-1\0"
        b"virtiofs.alias=virtio:d0000001Av*\0"
    )
    return KernelView(ModuleTree(tmp_path), lambda: LINKS, Addresses(SYMBOLS), SHAPE)


def opens(memory: Made) -> in_memory.Opens:
    def opened() -> AbstractContextManager[Memory]:
        return nullcontext(memory)

    return opened


NAMES: dict[str, str | None] = {"virtio-con": None, "gone": "gone"}
NOTHING = Evidence("6.12.0")


def test_the_lists_lead_to_the_drivers(memory: Made) -> None:
    assert in_memory.drivers(memory, LINKS, BUSES) == [0x6000, 0x8000]


def test_a_built_in_driver(memory: Made, running: KernelView) -> None:
    found = add_registered(NOTHING, running, NAMES, opens(memory))
    assert found.unread == {}
    assert found.drivers[0] == DriverFacts(
        name="virtio-con",
        module="virtio_con",
        file="/proc/kcore",
        struct="con_driver",
        ids=((3, ANY), (11, ANY)),
        functions={"validate": None, "probe": "con_probe"},
        init="con_init",
        aliases=("virtio:d00000003v*",),
        builtin=True,
        features=(5, 32),
        features_legacy=(),
    )
    assert Evidence.from_json(json.loads(json.dumps(found.to_json()))) == found


def test_a_module_whose_file_is_gone(memory: Made, running: KernelView) -> None:
    gone = add_registered(NOTHING, running, NAMES, opens(memory)).driver("gone")
    assert gone
    assert (gone.module, gone.builtin, gone.init) == ("gone", False, None)
    assert (gone.struct, gone.functions["probe"]) == ("(no symbol)", "gone_probe")


def test_drivers_in_files_are_not_read_again(memory: Made, running: KernelView) -> None:
    whole = add_registered(NOTHING, running, NAMES, opens(memory))

    def never() -> AbstractContextManager[Memory]:
        raise AssertionError

    assert add_registered(whole, running, NAMES, never) is whole
    assert add_registered(NOTHING, running, {}, never) is NOTHING


def _cut(memory: Made, *places: int) -> None:
    for place in places:
        del memory.bytes[place]


def _circle(memory: Made) -> None:
    """Makes an entry its own next."""
    entry = memory.number_at(0x5000 + LINKS.private_drivers)
    assert entry
    memory.number(entry, entry)


def test_a_driver_that_is_being_removed(memory: Made, running: KernelView) -> None:
    node = 0x8000 + 0x800 + LINKS.driver_private_node + LINKS.node_list
    memory.number(node, 0x7001)
    found = add_registered(NOTHING, running, NAMES, opens(memory))
    assert [driver.name for driver in found.drivers] == ["virtio-con"]
    assert found.unread == {"/proc/kcore": "gone: not found on the bus, or unreadable"}


def test_a_circular_list_ends(memory: Made, running: KernelView) -> None:
    _circle(memory)
    found = add_registered(NOTHING, running, NAMES, opens(memory))
    assert [driver.name for driver in found.drivers] == ["virtio-con"]
    assert "gone" in found.unread["/proc/kcore"]


@pytest.mark.parametrize(
    "place", [BUSES, TOP, 0x5000 + LINKS.private_kobject, 0x5200, 0x5000 + LINKS.private_drivers]
)
def test_a_broken_list(memory: Made, running: KernelView, place: int) -> None:
    _cut(memory, place)
    found = add_registered(NOTHING, running, NAMES, opens(memory))
    assert found.drivers == ()
    assert found.unread["/proc/kcore"].startswith("gone, virtio-con: not found")


@pytest.mark.parametrize("place", [0x6000, 0x6000 + 24, 0x6300])
def test_a_struct_that_cannot_be_read(memory: Made, running: KernelView, place: int) -> None:
    """Its name, the address of its id_table, or the table."""
    _cut(memory, place)
    found = add_registered(NOTHING, running, NAMES, opens(memory))
    assert [driver.name for driver in found.drivers] == ["gone"]
    assert found.unread["/proc/kcore"].startswith("virtio-con: ")


@pytest.mark.parametrize(
    ("symbols", "reason"),
    [
        (b"", "/proc/kallsyms has no bus_kset"),
        (SYMBOLS + b"0000000000001008 b bus_kset\n", "/proc/kallsyms has 2 symbols bus_kset"),
        (b"0000000000000000 b bus_kset\n", "the kernel hides its addresses (kptr_restrict)"),
    ],
)
def test_symbols_without_the_list(
    memory: Made, running: KernelView, symbols: bytes, reason: str
) -> None:
    blind = KernelView(running.tree, running.links, Addresses(symbols), SHAPE)
    found = add_registered(NOTHING, blind, NAMES, opens(memory))
    assert (found.drivers, found.unread) == ((), {"/proc/kcore": reason})


def test_memory_that_cannot_be_read(running: KernelView) -> None:
    def refused() -> AbstractContextManager[Memory]:
        raise CannotTraceError("/proc/kcore: Operation not permitted")

    found = add_registered(NOTHING, running, NAMES, refused)
    assert (found.drivers, found.unread) == ((), {"/proc/kcore": "Operation not permitted"})
    unknown = KernelView(running.tree, running.links, running.addresses, None)
    assert "layout" in add_registered(NOTHING, unknown, NAMES, refused).unread["/proc/kcore"]


@pytest.mark.parametrize(
    ("name", "device", "module"),
    [("virtio-con", 9, "virtio_con"), ("virtio_fs", 26, "virtiofs"), ("other", 9, None)],
)
def test_which_module_a_built_in_driver_would_be(
    running: KernelView, name: str, device: int, module: str | None
) -> None:
    found = in_memory.builtin_module(name, [(device, ANY)], running.tree)
    assert found == module


def test_every_kernels_btf_has_the_members(kernel_btf: Btf) -> None:
    links = Links.from_btf(kernel_btf)
    assert links.kset_list == 0
    assert links.private_kobject > 0
    assert links.private_drivers > links.private_kobject
    assert links.driver_private_driver > links.driver_private_node > 0


def _core(path: Path, segments: list[tuple[int, bytes]], kind: int = 1) -> Path:
    """An ELF core file of SEGMENTS, addresses with their bytes."""
    table, at = b"", 64 + 56 * len(segments)
    for address, data in segments:
        table += struct.pack("<IIQQQQQQ", kind, 7, at, address, 0, len(data), len(data), 8)
        at += len(data)
    head = struct.pack(
        "<6s10xHHIQQQIHHHHHH", b"\x7fELF\x02\x01", 4, 62, 1, 0, 64, 0, 0, 64, 56, len(segments),
        0, 0, 0,
    )  # fmt: skip
    path.write_bytes(head + table + b"".join(data for _, data in segments))
    return path


HIGH = 0xFFFFFFFF81000000


def test_kcore(tmp_path: Path) -> None:
    path = _core(
        tmp_path / "kcore", [(HIGH, b"kernel\0" + bytes(20)), (HIGH - 0x1000, b"\x2a" * 8)]
    )
    with Kcore(path) as memory:
        assert memory.string_at(HIGH) == "kernel"
        assert memory.bytes_at(HIGH + 2, 3) == b"rne"
        assert memory.number_at(HIGH - 0x1000, 2) == 0x2A2A
        for address, size in ((HIGH + 20, 8), (HIGH - 0x1000, 9), (HIGH - 1, 1), (0, 8)):
            assert memory.bytes_at(address, size) is None
        assert memory.string_at(HIGH - 0x1000) is None  # not terminated


def test_a_truncated_kcore(tmp_path: Path) -> None:
    path = _core(tmp_path / "kcore", [(HIGH, bytes(64))])
    path.write_bytes(path.read_bytes()[:-32])
    with Kcore(path) as memory:
        assert memory.bytes_at(HIGH, 32) == bytes(32)
        assert memory.bytes_at(HIGH, 64) is None


@pytest.mark.parametrize("size", [0, 5, 63, 80])
def test_not_a_kcore(tmp_path: Path, size: int) -> None:
    path = _core(tmp_path / "kcore", [(HIGH, bytes(64))])
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(CannotTraceError, match="is not a core file"):
        Kcore(path)
    with pytest.raises(CannotTraceError, match="No such file"):
        Kcore(tmp_path / "nowhere")


def test_names_at_an_address() -> None:
    symbols = Addresses(SYMBOLS)
    assert symbols.function_at(0x100) == "con_probe"  # not its padding
    assert symbols.function_at(0x200) == "gone_probe"
    assert symbols.function_at(0x6000) is None
    assert symbols.object_at(0x6000) == "con_driver"
    assert (symbols.object_at(0), symbols.object_at(0x777)) == (None, None)
    assert symbols.variable("bus_kset") == [0x1000]
