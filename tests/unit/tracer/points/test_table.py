# SPDX-License-Identifier: GPL-2.0-or-later
"""The table of probe points: a row that is not valid is refused when the table is imported."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from virtio_trace.graph import integrity
from virtio_trace.kernel.drivers import struct_search
from virtio_trace.tracer.points import shape, table
from virtio_trace.tracer.points.point import ProbePoint, check_table
from virtio_trace.virtio.transports import CONFIG_OPS, TRANSPORTS

ROWS = (*table.CORE_POINTS, *table.NEGOTIATION_POINTS, table.VRING_POINT)
NEW = ProbePoint(
    "virtio_reset_device", ("virtio_reset_device",), "virtio", shape.VIRTIO_DEVICE, "resets",
    letter="ab", priority=500,
)  # fmt: skip


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"name": ""}, "a probe point has no name"),
        ({"letter": ""}, "its letter '' is not one or two of a to z"),
        ({"letter": "Q"}, "its letter 'Q' is not one or two of a to z"),
        ({"letter": "xyz"}, "its letter 'xyz' is not one or two of a to z"),
        ({"priority": 0}, "its priority 0 is not positive"),
        ({"symbols": ()}, "it names no function"),
        ({"subject": 16}, "no enum vt_subject has the number 16"),
        ({"detail": 8}, "no enum vt_detail has the number 8"),
        ({"entry": False, "returns": False}, "neither its entry nor its return makes an event"),
        ({"detail": shape.QUEUE, "reread": True}, "an entry with a name saves no arguments"),
        ({"detail": shape.QUEUE, "subject": shape.BUS_TYPE}, "an entry with a name saves no"),
    ],
)
def test_a_row_that_is_not_valid_is_refused(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(NEW, **changed)


def test_a_row_without_a_letter_or_a_priority_is_refused() -> None:
    row: dict[str, Any] = {
        "name": "f", "symbols": ("f",), "module": None, "subject": 0, "without": "", "letter": "f",
        "priority": 1,
    }  # fmt: skip
    ProbePoint(**row)
    for name in ("letter", "priority"):
        with pytest.raises(TypeError, match=name):
            ProbePoint(**{key: value for key, value in row.items() if key != name})


def test_a_letter_or_a_priority_of_another_point_is_refused() -> None:
    check_table((*ROWS, NEW))
    with pytest.raises(ValueError, match="find_vqs and virtio_reset_device share letter 'v'"):
        check_table((*ROWS, replace(NEW, letter="v")))
    with pytest.raises(ValueError, match="find_vqs and virtio_reset_device share priority 180"):
        check_table((*ROWS, replace(NEW, priority=180)))


def test_rows_of_one_name_agree() -> None:
    other = replace(table.VRING_POINT, priority=700)
    with pytest.raises(ValueError, match="vring_create_virtqueue: rows differ"):
        check_table((*ROWS, other))


def test_a_reference_to_an_unknown_point_is_refused() -> None:
    with pytest.raises(ValueError, match="'set_state' is not the name of a probe point"):
        check_table(ROWS, named=("set_status", "set_state"))


@pytest.mark.parametrize("transport", TRANSPORTS, ids=lambda transport: transport.module)
def test_every_transport_has_its_points(transport: Any) -> None:
    mine = {row.name: row for row in ROWS if row.module == transport.module}
    assert mine[transport.probe].symbols == (transport.probe,)
    assert {f"{transport.prefix}{name}" for name in CONFIG_OPS} <= {
        symbol for row in mine.values() for symbol in row.symbols
    }
    assert dict(transport.interfaces) == {
        name: row.letter for name, row in mine.items() if row.announces
    }
    assert {transport.probe, *dict(transport.interfaces)} <= integrity.DEVICES
    driver = transport.driver
    assert struct_search.REGISTERED_BY[driver.struct] == {driver.registrar}
