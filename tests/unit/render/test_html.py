# SPDX-License-Identifier: GPL-2.0-or-later
"""The page: it loads nothing, no name can become markup or script, and it is not larger than it
has to be. tests/page opens it in a browser."""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from tests.page.recordings import NASTY, hostile, many_devices, many_events, write
from tests.unit.surgery import GOLDEN, dump, golden
from virtio_trace.recording import reader
from virtio_trace.recording.recording_file import RecordingFile
from virtio_trace.recording.source import Source
from virtio_trace.render import html as renderer
from virtio_trace.render.page import rows
from virtio_trace.render.page.markup import Html, join, script_json, tag, text

NAMES = [path.stem for path in sorted(GOLDEN.glob("*.vtr"))]
LARGEST_DEMO = 300_000
ELEMENTS = {
    "html", "head", "meta", "title", "style", "body", "nav", "main", "header", "section", "script",
    "h1", "h2", "h3", "p", "a", "b", "strong", "small", "code", "span", "i", "ul", "ol", "li", "dl",
    "dt", "dd", "table", "caption", "thead", "tbody", "tr", "th", "td", "div", "details", "summary",
    "button", "form", "label", "input", "select", "noscript", "svg", "g", "line", "rect", "circle",
    "path", "text",
}  # fmt: skip


class Parsed(HTMLParser):
    """What a browser makes of a page: its elements, and the text in each."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.texts: list[str] = []
        self.raw: list[tuple[dict[str, str | None], str]] = []
        self.comments = 0
        self.feed(page)
        self.close()

    def handle_starttag(self, name: str, attributes: list[tuple[str, str | None]]) -> None:
        self.found.append((name, dict(attributes)))
        if name not in ("meta", "input"):
            self.open.append(name)
        if name in ("script", "style"):
            self.raw.append((dict(attributes), ""))

    def handle_endtag(self, name: str) -> None:
        assert self.open.pop() == name, (name, self.getpos())

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] in ("script", "style"):
            attributes, before = self.raw[-1]
            self.raw[-1] = attributes, before + data
        else:
            self.texts.append(data)

    def handle_comment(self, data: str) -> None:
        self.comments += 1


def page(recording: Source) -> str:
    out = io.BytesIO()
    renderer.html(renderer.collect(recording), out)
    return out.getvalue().decode("ascii")


def of(lines: list[dict[str, Any]], folder: Path) -> str:
    with write(lines, folder / "x.vtr").open("rb") as stream:
        return page(RecordingFile(stream, "x"))


def data(parsed: Parsed) -> dict[str, Any]:
    (found,) = [body for attributes, body in parsed.raw if attributes.get("id") == "data"]
    known: dict[str, Any] = json.loads(found)
    return known


@pytest.mark.parametrize("name", NAMES)
def test_it_is_well_formed_and_loads_nothing(name: str) -> None:
    with (GOLDEN / f"{name}.vtr").open("rb") as stream:
        whole = page(RecordingFile(stream, name))
    parsed = Parsed(whole)
    assert parsed.open == [] and {element for element, _ in parsed.found} <= ELEMENTS
    for element, attributes in parsed.found:
        assert "src" not in attributes and "style" not in attributes, element
        assert not any(key.startswith("on") for key in attributes), element
        assert (attributes.get("href") or "#").startswith("#"), element
    scripts = "".join(body for _, body in parsed.raw)
    assert not re.search(r"https?:|//[a-z]+\.|@import|url\(|\bfetch\(|XMLHttp|\beval\(", scripts)


def test_the_policy_allows_one_script_and_one_style() -> None:
    parsed = Parsed(page(reader.read(dump(golden("debian-6.1")), "x")))
    (policy,) = [
        attributes["content"]
        for _, attributes in parsed.found
        if attributes.get("http-equiv") == "Content-Security-Policy"
    ]
    run = [body for attributes, body in parsed.raw if "type" not in attributes]
    style, script = (base64.b64encode(hashlib.sha256(b.encode()).digest()).decode() for b in run)
    assert policy == (
        f"default-src 'none'; script-src 'sha256-{script}'; style-src 'sha256-{style}'; "
        "base-uri 'none'; form-action 'none'"
    )


def test_no_name_becomes_markup(tmp_path: Path) -> None:
    """The same elements as without the hostile names' markup, and the names as text."""
    parsed = Parsed(of(hostile(), tmp_path))
    assert parsed.open == [] and parsed.comments == 0
    assert {element for element, _ in parsed.found} <= ELEMENTS
    assert sum(element == "script" for element, _ in parsed.found) == 3
    for element, attributes in parsed.found:
        assert not any(key.startswith("on") or key == "src" for key in attributes), element
        assert (attributes.get("href") or "#").startswith("#")
        assert re.fullmatch(r"[\w-]*", attributes.get("id") or "")
    shown = NASTY.replace("\u2028", "\\u2028")
    texts = "\n".join(parsed.texts)
    for name in ("6.1.0-56-cloud-amd64", "0000:00:02.0", "virtio_net", "virtnet_probe", "input.0"):
        assert name + shown in texts, name
    known = data(parsed)
    for table in ("tasks", "devices", "drivers", "texts"):
        assert any(shown in entry for entry in known[table]), table
    assert any(shown in line[2] for line in known["log"])


def test_text_and_attributes_are_escaped() -> None:
    assert tag("p", "<b>&\"'\x1b\u202e") == "<p>&lt;b&gt;&amp;&quot;&#x27;\\x1b\\u202e</p>"
    assert tag("a", tag("b", "x"), href='"><i', data_x=1, open=True, hidden=False, id=None) == (
        '<a href="&quot;&gt;&lt;i" data-x="1" open><b>x</b></a>'
    )
    assert join("<", Html("<br>"), text(Html("<hr>"))) == "&lt;<br><hr>"
    assert script_json("</script><!--&\u2028") == (
        '"\\u003c/script\\u003e\\u003c!--\\u0026\\u2028"'
    )


@pytest.mark.parametrize("name", NAMES)
def test_a_page_of_a_boot_is_small(name: str, tmp_path: Path) -> None:
    assert len(of(golden(name), tmp_path)) < LARGEST_DEMO


@pytest.mark.parametrize("name", ["debian-6.1", "debian-6.1-lossy"])
def test_the_recording_is_inside_byte_by_byte(name: str) -> None:
    path = GOLDEN / f"{name}.vtr"
    with path.open("rb") as stream:
        parsed = Parsed(page(RecordingFile(stream, name)))
    (packed,) = [body for attributes, body in parsed.raw if attributes.get("id") == "packed"]
    assert gzip.decompress(base64.b64decode(packed)) == path.read_bytes()


def test_a_cut_recording_is_inside_as_it_is(tmp_path: Path) -> None:
    cut = (GOLDEN / "debian-6.1.vtr").read_bytes()[:-4000]
    (tmp_path / "cut.vtr").write_bytes(cut)
    with (tmp_path / "cut.vtr").open("rb") as stream:
        parsed = Parsed(page(RecordingFile(stream, "cut")))
    (packed,) = [body for attributes, body in parsed.raw if attributes.get("id") == "packed"]
    assert gzip.decompress(base64.b64decode(packed)) == cut
    assert "INCOMPLETE" in parsed.texts
    assert any("cut short" in one for one in parsed.texts)


def test_a_recording_in_memory_is_inside_too() -> None:
    recording = reader.read(dump(golden("debian-6.1")), "x")
    again = reader.read(b"".join(recording.raw()).splitlines(keepends=True), "x")
    assert again == recording


def test_a_large_recording_is_left_out(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(renderer, "_LARGEST", 1000)
    parsed = Parsed(of(golden("debian-6.1"), tmp_path))
    assert not any(attributes.get("id") == "packed" for attributes, _ in parsed.raw)
    assert any("The recording is not in this page" in one for one in parsed.texts)


def test_the_rows_are_the_calls_of_script() -> None:
    lines = golden("debian-6.1-failures")
    with (GOLDEN / "debian-6.1-failures.vtr").open("rb") as stream:
        known = data(Parsed(page(RecordingFile(stream, "x"))))
    starts = [event["seq"] for event in lines[1:-1] if event["kind"] != "return"]
    assert [row[0] for row in known["rows"]] == starts
    times, ns = {event["seq"]: event["ns"] for event in lines[1:-1]}, 0
    for row in known["rows"]:
        ns += row[1]
        assert ns == times[row[0]]
    (failed,) = [
        row for row in known["rows"]
        if known["texts"][row[8]].startswith("virtio_features_ok") and row[10] & rows.BAD
    ]  # fmt: skip
    assert known["outcomes"][failed[9]] == "-19 ENODEV"


def test_what_does_not_concern_virtio_is_flagged() -> None:
    with (GOLDEN / "debian-6.1-failures.vtr").open("rb") as stream:
        known = data(Parsed(page(RecordingFile(stream, "x"))))
    concerns = {known["texts"][row[8]]: bool(row[10] & rows.CONCERNS) for row in known["rows"]}
    assert not concerns["load module cryptd"] and not concerns["do_init_module cryptd"]
    assert concerns["load module virtio_pci"] and concerns["do_init_module virtio_net"]


def test_rows_are_capped_and_it_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(rows, "FIRST", 50)
    monkeypatch.setattr(rows, "LAST", 20)
    monkeypatch.setattr(renderer, "FIRST", 50)
    monkeypatch.setattr(renderer, "LAST", 20)
    lines = golden("debian-6.1-failures")
    parsed = Parsed(of(lines, tmp_path))
    found = [row[0] for row in data(parsed)["rows"]]
    starts = [event["seq"] for event in lines[1:-1] if event["kind"] != "return"]
    assert found[:50] == starts[:50] and found[-20:] == starts[-20:]
    named = {seq for one in data(parsed)["findings"] for seq in one[4]}
    assert {*found[50:-20]} == named & {*starts[50:-20]} != set()
    said = next(one for one in parsed.texts if one.startswith("This page has"))
    assert f"{len(found)} of {len(starts)} rows: the first 50, the last 20" in said


def test_a_long_recording_makes_no_long_page(tmp_path: Path) -> None:
    short, long = (len(of(many_events(number), tmp_path)) for number in (3000, 12_000))
    rows_of_long = 12_000 * 0.63
    assert long - short < rows_of_long * 60


def test_a_device_without_its_feature_says_which(tmp_path: Path) -> None:
    texts = Parsed(of(golden("debian-6.1-failures"), tmp_path)).texts
    assert any(one.endswith("; missing: VIRTIO_F_ACCESS_PLATFORM") for one in texts)
    assert "missing" in texts and "Missing: VIRTIO_F_ACCESS_PLATFORM" in texts


def test_incomplete_says_why(tmp_path: Path) -> None:
    whole = of(golden("debian-6.12-rebind"), tmp_path)
    (block,) = re.findall(r'<ul class="failures">.*?</ul>', whole, re.DOTALL)
    assert "INCOMPLETE" in whole and "before the recording: " in block


def test_equal_causes_are_one_sentence(tmp_path: Path) -> None:
    whole = of(many_devices(25), tmp_path)
    (block,) = re.findall(r'<ul class="failures">.*?</ul>', whole, re.DOTALL)
    assert block.count("<li") == 3 and block.count("<a ") == 12
    for address in re.findall(r'href="#(device-[^"]*)"', block):
        assert f'<details id="{address}" class="device" open>' in whole


def test_the_hosts_view_is_beside_the_guests(tmp_path: Path) -> None:
    texts = Parsed(of(golden("debian-6.1-host"), tmp_path)).texts
    place = texts.index(
        "The guest's view and the host's, /machine/peripheral-anon/device[2]/virtio-backend"
    )
    part = texts[place : place + 14]
    assert "0x0f ACKNOWLEDGE DRIVER DRIVER_OK FEATURES_OK" in part and "0x00 reset" in part
