# SPDX-License-Identifier: GPL-2.0-or-later
"""The picture: order, reasons, text inside its box, no two boxes on each other, contrast."""

from __future__ import annotations

import io
import re
import sys
import types
from itertools import combinations
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from tests.page.recordings import many_devices
from tests.unit.render.test_dot import summary
from tests.unit.surgery import GOLDEN, golden
from virtio_trace.errors import CannotTraceError
from virtio_trace.render.picture import FAILED, picture, shortened
from virtio_trace.render.png import png
from virtio_trace.render.svg import svg

NAMES = [path.stem for path in sorted(GOLDEN.glob("*.vtr"))]
SPACE = "{http://www.w3.org/2000/svg}"
ADVANCE = 0.602
"""Of a character, in em: DejaVu Sans Mono's; in the others it is less."""


def many(number: int) -> dict[str, Any]:
    """A report with NUMBER devices: those of a recording with failures, repeated."""
    found = summary(golden("debian-6.1-failures"))
    devices, bindings = found["devices"], found["bindings"]
    found["devices"], found["bindings"] = [], []
    for i in range(number):
        device, address = devices[i % len(devices)], f"0000:{i // 30:02x}:{i % 30 + 2:02x}.0"
        found["devices"].insert(0, {**device, "address": address, "name": f"virtio{i}"})
        found["bindings"] += [
            {**one, "device": address} for one in bindings if one["device"] == device["address"]
        ]
    return found


def drawn(found: dict[str, Any]) -> ElementTree.Element:
    out = io.BytesIO()
    svg(found, out)
    return ElementTree.fromstring(out.getvalue().decode("ascii"))


def frame(box: ElementTree.Element) -> tuple[float, float, float, float]:
    x, y, width, height = (float(box.attrib[key]) for key in ("x", "y", "width", "height"))
    return x, y, x + width, y + height


def extent(text: ElementTree.Element) -> tuple[float, float]:
    width = len(text.text or "") * ADVANCE * float(text.attrib.get("font-size", 12))
    x = float(text.attrib["x"])
    return (x - width, x) if text.attrib.get("text-anchor") == "end" else (x, x + width)


FOUND = [*((name, summary(golden(name))) for name in NAMES), *((str(n), many(n)) for n in (12, 40))]


@pytest.mark.parametrize("found", [one for _, one in FOUND], ids=[name for name, _ in FOUND])
def test_text_is_inside_its_box_and_boxes_are_apart(found: dict[str, Any]) -> None:
    root = drawn(found)
    groups = root.findall(f"{SPACE}g")
    assert len(groups) >= len({device["address"] for device in found["devices"]})
    frames = [frame(group.findall(f"{SPACE}rect")[0]) for group in groups]
    for group, (left, top, right, bottom) in zip(groups, frames, strict=True):
        by_line: dict[str, list[tuple[float, float]]] = {}
        for text in group.findall(f"{SPACE}text"):
            assert top < float(text.attrib["y"]) - 9 and float(text.attrib["y"]) + 3 < bottom
            begin, end = extent(text)
            assert left < begin and end < right
            by_line.setdefault(text.attrib["y"], []).append((begin, end))
        for spans in by_line.values():
            assert all(one[1] < other[0] for one, other in combinations(sorted(spans), 2))
    for one, other in combinations(frames, 2):
        assert one[2] < other[0] or other[2] < one[0] or one[3] < other[1] or other[3] < one[1]
    width, height = float(root.attrib["width"]), float(root.attrib["height"])
    for text in root.iter(f"{SPACE}text"):
        assert extent(text)[1] < width and float(text.attrib["y"]) < height


def test_devices_are_in_order_of_address() -> None:
    shown = picture(many(40))
    places = [device.place for device in shown.devices]
    assert len(places) == 40 and places == sorted(places)
    found = summary(golden("debian-6.1"))
    one = found["devices"][0]
    found["devices"] = [{**one, "address": f"virtio-mmio.{n}"} for n in (10, 9, 2)]
    assert [d.place.split()[0][12:] for d in picture(found).devices] == ["2", "9", "10"]


@pytest.mark.parametrize("number", [6, 40])
def test_a_device_that_is_not_bound_has_its_reason(number: int) -> None:
    text = "".join(drawn(many(number)).itertext())
    assert "virtio_net refused the device" in text
    assert "no driver in this kernel for this device" in text


def test_a_line_for_each_attempt_and_none_to_a_bus() -> None:
    found = summary(golden("debian-6.1-failures"))
    root = drawn(found)
    curves = [p for p in root.findall(f"{SPACE}path") if "C" in p.attrib["d"]]
    assert len(curves) == len(found["bindings"]) == 5
    assert sum("stroke-dasharray" in curve.attrib for curve in curves) == 2
    assert " bus" not in "".join(root.itertext())


def test_the_legend_has_what_is_drawn() -> None:
    words = [text.text for text in drawn(summary(golden("debian-6.1"))).findall(f"{SPACE}text")]
    assert words[2:] == ["bound"]
    words = [t.text for t in drawn(summary(golden("debian-6.1-failures"))).findall(f"{SPACE}text")]
    assert words[2:] == ["bound", "failed"]


def _luminance(colour: str) -> float:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.03928 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("name", NAMES)
def test_contrast_is_that_of_wcag_aa(name: str) -> None:
    for group in drawn(summary(golden(name))).findall(f"{SPACE}g"):
        fill = _luminance(group.findall(f"{SPACE}rect")[0].attrib["fill"])
        for text in group.findall(f"{SPACE}text"):
            ink = _luminance(text.attrib["fill"])
            assert (fill + 0.05) / (ink + 0.05) >= 4.5


def test_no_name_breaks_the_xml() -> None:
    found = summary(golden("debian-6.1"))
    nasty = '</text><script>alert(1)</script>&"\x1b\u202e\udc80漢字' * 3
    for driver in found["drivers"]:
        driver["name"] = driver["module"] = nasty
    for binding in found["bindings"]:
        binding["driver"] = binding["function"] = nasty
    for device in found["devices"]:
        device |= {"name": nasty, "reason": nasty, "state": "failed"}
    root = drawn(found)
    assert {element.tag.removeprefix(SPACE) for element in root.iter()} == {
        "svg", "title", "rect", "text", "path", "circle", "g",
    }  # fmt: skip
    assert "</text><script>" in "".join(root.itertext())


def test_a_driver_whose_registration_failed_says_so() -> None:
    found = summary(golden("debian-6.1"))
    found["drivers"][0]["result"] = -17
    box = picture(found).drivers[0]
    assert (box.look, box.lines[-1]) == (FAILED, "its registration returned -17 EEXIST")


@pytest.mark.parametrize("number", [6, 40])
def test_the_missing_feature_is_named_however_many_devices_there_are(number: int) -> None:
    texts = [
        "".join(text.itertext())
        for text in drawn(summary(many_devices(number))).iter(f"{SPACE}text")
    ]
    failed = texts.count("failed") - 1  # one is of the legend
    named = [
        text
        for text in texts
        if re.search(
            "missing: .*VIRTIO_F_ACCESS_PLATFORM|missing:.*CTRL_VQ|^VIRTIO_NET_F_CTRL_VQ", text
        )
    ]
    assert failed == (2 if number == 6 else 14)
    assert len(named) == failed


def test_a_cut_reason_ends_with_an_ellipsis() -> None:
    assert shortened(["a b", "c d"], 2) == ["a b", "c d"]
    assert shortened(["a b", "c d", "e"], 2) == ["a b", "c …"]
    assert shortened(["a b", "cd", "e"], 2) == ["a b …"]
    assert shortened(["abcdef", "g"], 1) == ["abcd …"]


def _program(folder: Path, name: str, script: str) -> None:
    (folder / name).write_text(f"#!/bin/sh\n{script}\n")
    (folder / name).chmod(0o755)


def test_png_by_the_first_program_that_is_there(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setitem(sys.modules, "cairosvg", None)
    found = summary(golden("debian-6.1"))
    with pytest.raises(
        CannotTraceError, match="needs rsvg-convert, CairoSVG or graphviz"
    ) as caught:
        png(found, io.BytesIO())
    assert "librsvg2-bin" in caught.value.hint
    made = {}
    _program(tmp_path, "dot", '[ "$1" = -Tpng ] && exec /bin/cat')
    made["dot"] = io.BytesIO()
    png(found, made["dot"])
    assert made["dot"].getvalue().startswith(b"digraph virtio {")
    cairo = types.ModuleType("cairosvg")
    cairo.svg2png = lambda bytestring, scale: b"cairo" + bytestring[:4]  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "cairosvg", cairo)
    out = io.BytesIO()
    png(found, out)
    assert out.getvalue() == b"cairo<svg"
    _program(tmp_path, "rsvg-convert", "exec /bin/cat")
    out = io.BytesIO()
    png(found, out)
    assert re.match(rb"<svg ", out.getvalue())


def test_png_when_the_program_fails(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    _program(tmp_path, "rsvg-convert", "echo no fonts >&2; exit 1")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(CannotTraceError, match="rsvg-convert failed: no fonts"):
        png(summary(golden("debian-6.1")), io.BytesIO())
