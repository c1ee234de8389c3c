# SPDX-License-Identifier: GPL-2.0-or-later
"""A line of a known form gives what the JSON parser would have made of it, or is parsed."""

from __future__ import annotations

import json
import random

import pytest

from tests.unit.surgery import GOLDEN
from virtio_trace.errors import BadInputError
from virtio_trace.recording.events import Event, EventReader
from virtio_trace.recording.line_forms import LineForms

FILES = sorted(GOLDEN.glob("*.vtr"))


def parsed(line: bytes) -> Event | None:
    """By the parser alone; None where it is refused."""
    try:
        raw = json.loads(line)
        return EventReader().event(raw) if isinstance(raw, dict) else None
    except (ValueError, BadInputError):
        return None


def lines_of(path: str) -> list[bytes]:
    return (GOLDEN / path).read_bytes().splitlines(keepends=True)[1:-1]


@pytest.mark.parametrize("path", [path.name for path in FILES])
def test_every_line_is_read_as_the_parser_reads_it(path: str) -> None:
    """Twice: with the forms of the first time, none is parsed the second time."""
    forms, lines = LineForms(), lines_of(path)
    for line in lines:
        expected = parsed(line)
        assert expected is not None
        forms.learn(line, expected)
    assert [forms.event(line) for line in lines] == [parsed(line) for line in lines]


def test_damaged_lines_give_what_the_parser_gives_or_are_left_to_it() -> None:
    lines, chance = lines_of("debian-6.1.vtr"), random.Random(7)
    forms = LineForms()
    for line in lines:
        event = parsed(line)
        assert event is not None
        forms.learn(line, event)
    words = [b"0", b"9", b"-", b"1e3", b'"', b"\\", b",", b"}", b'"duration_ns":5', b" ", b"\xff"]
    taken = 0
    for _ in range(20_000):
        damaged = bytearray(chance.choice(lines))
        for _ in range(chance.randint(1, 2)):
            at = chance.randrange(len(damaged) - 1)
            damaged[at : at + chance.randint(0, 3)] = chance.choice(words)
        found = forms.event(bytes(damaged))
        if found is not None:
            taken += 1
            assert found == parsed(bytes(damaged)), bytes(damaged)
    assert taken > 100


AMBIGUOUS = [
    b'{"seq":1,"ns":2,"cpu":0,"tid":3,"comm":"a","kind":"module","module":"m","seq":1}\n',
    b'{"seq":1,"ns":2,"cpu":0,"tid":3,"comm":"a","kind":"module","module":"m","s\\u0065q":1}\n',
    b'{"seq":1,"ns":2,"cpu":0,"tid":3,"comm":"a","kind":"return","probe":"p",'
    b'"duration_ns":7,"duration_ns":7}\n',
    b'{"seq":1,"ns":2,"cpu":0,"tid":3,"comm":"a","kind":"module","module":"m",'
    b'"later":{"duration_ns":7}}\n',
]


@pytest.mark.parametrize("line", AMBIGUOUS)
def test_a_line_whose_numbers_are_not_where_they_seem_is_always_parsed(line: bytes) -> None:
    event = parsed(line)
    assert event is not None
    forms = LineForms()
    forms.learn(line, event)
    assert forms.event(line) is None


@pytest.mark.parametrize("number", [b"01", b"-1", b"1.0", b"1e2", b"9" * 19, b'"1"', b"null"])
@pytest.mark.parametrize("member", [b"seq", b"ns", b"cpu", b"tid", b"duration_ns"])
def test_a_number_of_another_form_is_left_to_the_parser(member: bytes, number: bytes) -> None:
    line = (
        b'{"seq":1,"ns":1,"cpu":1,"tid":1,"comm":"a","kind":"return","probe":"p",'
        b'"function":"f","result":0,"duration_ns":1}\n'
    )
    event = parsed(line)
    assert event is not None
    forms = LineForms()
    forms.learn(line, event)
    assert forms.event(line) == event
    assert forms.event(line.replace(b'"%s":1' % member, b'"%s":%s' % (member, number))) is None
