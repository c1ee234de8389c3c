# SPDX-License-Identifier: GPL-2.0-or-later
"""Lines that no kernel wrote, of the ring and of tracefs's lists; found by tests/fuzz."""

from __future__ import annotations

import pytest

from tests.unit.tracer.ftrace.test_fetchargs import LINUX_6_1, define
from virtio_trace.recording.events import EventReader
from virtio_trace.tracer.ftrace import cmdline, tracefs
from virtio_trace.tracer.ftrace.text_decoder import TextDecoder

LONG = "9" * 5000
LINE = "x-{tid} [{cpu}] d.... {s}.000000: {event}\n"
GOOD = {"tid": "1", "cpu": "000", "s": "1", "event": "module_load: virtio"}


def ring() -> TextDecoder:
    names = ("virtio_dev_probe", "driver_features", "do_init_module")
    return TextDecoder([one for name in names for one in define(name)], LINUX_6_1)


def test_the_line_itself() -> None:
    assert ring().event(LINE.format(**GOOD)) is not None


@pytest.mark.parametrize(
    "changed", [{"tid": LONG}, {"tid": "²"}, {"cpu": LONG}, {"s": LONG}, {"s": "9" * 10}]
)
def test_numbers_that_are_none(changed: dict[str, str]) -> None:
    text = ring()
    assert text.event(LINE.format(**GOOD | changed)) is None
    assert text.lost == 1


def test_a_loss_that_is_no_number() -> None:
    text = ring()
    assert text.event(f"CPU:0 [LOST {LONG} EVENTS]\n") is None
    assert text.lost == 1


@pytest.mark.parametrize("value", ["-1", "0x1" + "0" * 16, LONG, "{-1}", "{0x1,-5}"])
def test_what_no_register_holds(value: str) -> None:
    """A negative bit of a feature table was shifted by; a larger number was no features."""
    for name in ("virtio_dev_probe", "driver_features"):
        (entry, *_) = define(name)
        arguments = " ".join(f"{one.partition('=')[0]}={value}" for one in entry.arguments)
        text = ring()
        event = text.event(
            LINE.format(**GOOD | {"event": f"{entry.name}: (f+0x0/0x9) {arguments}"})
        )
        assert event is None and text.lost == 1


@pytest.mark.parametrize(("value", "result"), [("-19", -19), ("0xffffffed", -19), ("0", 0)])
def test_a_result_is_printed_with_its_sign_or_without(value: str, result: int) -> None:
    """As 6.12 and older kernels print $retval. A line with a sign was refused, and lost."""
    entry, ret = define("do_init_module")
    text = ring()
    text.event(LINE.format(**GOOD | {"event": f'{entry.name}: (f+0x0/0x9) n="powernow_k8"'}))
    event = text.event(LINE.format(**GOOD | {"event": f"{ret.name}: (g+0x1/0x9 <- f) x={value}"}))
    assert event is not None and text.lost == 0
    assert event.result == result


def test_an_offset_that_is_no_number() -> None:
    for offset in (LONG, "0x" + "f" * 5000, "²", "010"):
        (found,) = cmdline.listed(f"p:vt/x _stext+{offset} x=%ax\n")
        assert found.target.startswith("_stext+")


@pytest.mark.parametrize("count", [LONG, "²"])
def test_a_count_that_is_no_number(count: str) -> None:
    assert tracefs.event_counts(f"  vt/x  1  {count}\n  vt/y 2 3\n") == {"vt/y": (2, 3)}


def test_all_that_is_decoded_can_be_read() -> None:
    line = LINE.format(**GOOD | {"s": "9" * 9, "tid": "9" * 10, "cpu": "9" * 9})
    event = ring().event(line)
    assert event is not None
    assert EventReader().event(event.to_json()) == event
