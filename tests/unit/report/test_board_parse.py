# SPDX-License-Identifier: GPL-2.0-or-later
"""Boards in TOML: what is read, and what is refused with its line."""

from __future__ import annotations

import pytest

from virtio_trace.errors import BadInputError
from virtio_trace.report.board.lines import lines_of
from virtio_trace.report.board.model import Board, Expected
from virtio_trace.report.board.parse import LARGEST, parse

NET = '[[device]]\ntype = "net"\n'
AT = '[[device]]\naddress = "0000:00:02.0"\n'


def board(text: str) -> Board:
    return parse(text.encode(), "b.toml")


def refused(text: str | bytes) -> str:
    data = text.encode() if isinstance(text, str) else text
    with pytest.raises(BadInputError) as caught:
        parse(data, "b.toml")
    return str(caught.value)


def test_every_key_is_read() -> None:
    found = board(
        '[board]\nonly = true\nkernel = "6.1.*"\n'
        '[[device]]\naddress = "0000:00:02.0"\ntype = "net"\ntransport = "pci-modern"\n'
        'driver = "virtio_net"\nfeatures = ["VIRTIO_NET_F_MAC"]\nwithout = ["VIRTIO_NET_F_MQ"]\n'
        "queues = 3\nvectors = 2\nprobe_ms = 12.5\noptional = true\n"
        '[[device]]\ntype = "block"\ncount = 2\nstate = "failed"\n'
    )
    first = Expected(
        "0000:00:02.0", "net", 1, "virtio_net", "pci-modern", "bound", ("VIRTIO_NET_F_MAC",),
        ("VIRTIO_NET_F_MQ",), 3, 2, 12.5, True,
    )  # fmt: skip
    second = Expected(type="block", count=2, state="failed")
    assert found == Board((first, second), True, ("6.1.*",))


def test_an_older_name_of_a_feature_is_its_newer_name() -> None:
    text = '[[device]]\ntype = "block"\nfeatures = ["VIRTIO_BLK_F_WCE", "VIRTIO_F_IOMMU_PLATFORM"]'
    (found,) = board(text).devices
    assert found.features == ("VIRTIO_BLK_F_FLUSH", "VIRTIO_F_ACCESS_PLATFORM")


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        (NET + "cuont = 2", 3, "unknown key cuont; count?"),
        ("[board]\nonly = true\n[other]\nx = 1", 3, "unknown key other"),
        (NET + "[device.more]\nx = 1", 3, "unknown key more"),
        ('device = [\n {type = "net", foo = 1},\n]', 1, "unknown key foo"),
        ("[board]\n\n\nonly = 1", 4, "only: neither true nor false"),
        (NET + "count = 0", 3, "count: not a whole number from 1"),
        (NET + "count = true", 3, "count: not a whole number from 1"),
        (NET + "queues = 65537", 3, "queues: not a whole number"),
        (NET + "probe_ms = nan", 3, "probe_ms: not a number"),
        (NET + "probe_ms = inf", 3, "probe_ms: not a number"),
        (NET + "features = 'x'", 3, "features: not an array"),
        (NET + "features = [[]]", 3, "features: not a string"),
        (NET + "transport = []", 3, "transport: [] is none of pci-modern"),
        (NET + "state = 'removed'", 3, "state: removed is none of bound"),
        ('[[device]]\ntype = "blk"', 2, "unknown type blk"),
        ('[[device]]\ntype = "id-x"', 2, "unknown type id-x"),
        ('[[device]]\naddress = "00:02.0"', 2, "lacks the PCI domain: 0000:00:02.0?"),
        ("[device]\ntype = 'net'", 1, "device is not an array of tables"),
        ("board = 3", 1, "board is not a table"),
        ("device = [1]", 1, "device is not a table"),
    ],
)
def test_what_is_not_understood_is_refused_with_its_line(text: str, line: int, says: str) -> None:
    message = refused(text)
    assert message.startswith(f"b.toml, line {line}: ")
    assert says in message


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ("[board]\nonly = true\n[[device]]\ndriver = 'a'", 3, "needs an address or a type"),
        (AT + "count = 1", 3, "count is for a type"),
        (AT + "\n" + AT, 5, "0000:00:02.0 is the device of line 1, too"),
        (NET + "features = ['VIRTIO_NET_F_MQ']\nwithout = ['VIRTIO_NET_F_MQ']", 4, "in features"),
        (NET + "state = 'unbound'\ndriver = 'virtio_net'", 4, "driver is of a bound device"),
        (NET + "state = 'failed'\nqueues = 2", 4, "queues is of a bound device"),
        (NET + "state = 'failed'\nfeatures = []", 4, "features is of a bound device"),
        (AT + "transport = 'mmio'", 3, "is a PCI address"),
        ("[[device]]\naddress = 'a00.virtio_mmio'\ntransport = 'ccw'", 3, "a virtio-mmio address"),
        (NET + "transport = 'mmio'\nvectors = 1", 4, "has no MSI-X vectors"),
        (NET + "transport = 'pci-legacy'\nfeatures = ['VIRTIO_F_VERSION_1']", 4, "a legacy device"),
        (NET + "transport = 'pci-modern'\nwithout = ['VIRTIO_F_VERSION_1']", 4, "a modern device"),
        (NET + "without = ['VIRTIO_BLK_F_RO']", 3, "no device of type net has a feature"),
        (AT + "features = ['VIRTIO_NET_F_MRGRXBUF']", 3, "VIRTIO_NET_F_MRG_RXBUF?"),
    ],
)  # fmt: skip
def test_a_contradiction_is_refused_with_its_line(text: str, line: int, says: str) -> None:
    message = refused(text)
    assert message.startswith(f"b.toml, line {line}: ")
    assert says in message


@pytest.mark.parametrize("text", ["", "# nothing\n", "[board]\n", "[board]\nonly = false\n"])
def test_a_board_that_expects_nothing_is_refused(text: str) -> None:
    assert "expects nothing" in refused(text)


@pytest.mark.parametrize(
    "data",
    [
        b"a = " + b"[" * 100_000,
        b"a = " + b"9" * 5000,
        b"a = {b = " * 20_000,
        b"\xff\xfe",
        b"a = 1\na = 2",
        b"a = \x00",
        b"#" * (LARGEST + 1),
    ],
    ids=["nested", "digits", "inline", "not UTF-8", "twice", "NUL", "large"],
)
def test_what_is_no_board_is_refused(data: bytes) -> None:
    assert "not TOML" in refused(data) or "not a board" in refused(data)


def test_the_lines_of_keys_are_found_in_any_notation() -> None:
    text = (
        "top = 1\n"
        "[a.'b.c'] # a comment with [brackets]\n"
        'x = """\n[[no]]\ny = 1\n"""\n'
        "z = [ # [\n  1,\n  { q = ']' },\n]\n"
        '"quo\\"ted" . k = 2\n'
        "[[list]]\n[[list]]\nv = '''\nw = 1'''\n[list.sub]\nu = 1"
    )
    assert lines_of(text) == {
        ("top",): 1,
        ("a", "b.c"): 2,
        ("a", "b.c", "x"): 3,
        ("a", "b.c", "z"): 7,
        ("a", "b.c", 'quo"ted', "k"): 11,
        ("list", 0): 12,
        ("list", 1): 13,
        ("list", 1, "v"): 14,
        ("list", 1, "sub"): 16,
        ("list", 1, "sub", "u"): 17,
    }


def test_lines_end_as_in_the_file() -> None:
    assert refused('[[device]]\r\ntype = "net"\r\nx = 1\r\n').startswith("b.toml, line 3: ")
