# SPDX-License-Identifier: GPL-2.0-or-later
"""The page in a browser: opened, read, filtered, used by keyboard, printed, looked at."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import pytest

from tests.page import recordings
from tests.page.browser import Browser
from tests.unit.surgery import GOLDEN
from virtio_trace.cli.main import run

OPENS_IN_S = 3.0
TAB, ENTER, ESCAPE = ("Tab", "", 9), ("Enter", "\r", 13), ("Escape", "", 27)
FAILED = '.cell[data-step="bus-probed"][data-subject="0000:00:05.0"]'


def made(folder: Path, name: str) -> Path:
    """The page of the recording NAME."""
    page, recording = folder / f"{name}.html", folder / f"{name}.vtr"
    if not page.exists():
        if name == "many-devices":
            recordings.write(recordings.many_devices(25), recording)
        elif name == "many-events":
            recordings.write(recordings.many_events(100_000), recording)
        elif name == "hostile":
            recordings.write(recordings.hostile(), recording)
        else:
            recording = GOLDEN / f"{name}.vtr"
        assert run(["report", str(recording), "--format", "html", "-o", str(page)]) == 0
    return page


def text(page: Browser, selector: str) -> str:
    found = page.value(f"document.querySelector({selector!r}).innerText")
    assert isinstance(found, str)
    return found


def shown(page: Browser) -> list[str]:
    found = page.value(
        "[...document.querySelectorAll('#tree .what')].map((e) => e.innerText.trim())"
    )
    assert isinstance(found, list)
    return found


def wait(page: Browser, expression: str) -> None:
    page.value(
        f"new Promise((done) => {{ const look = () => ({expression}) ? done() :"
        " setTimeout(look, 20); look(); })"
    )


@pytest.mark.parametrize(
    ("name", "devices"), [("debian-6.1", 3), ("many-devices", 25), ("many-events", 3)]
)
def test_it_opens_in_time(page: Browser, folder: Path, name: str, devices: int) -> None:
    assert page.open(made(folder, name)) < OPENS_IN_S
    assert page.value("document.querySelectorAll('details.device').length") == devices
    assert 0 < len(shown(page)) <= 500


def test_rows_are_capped_and_it_is_said(page: Browser, folder: Path) -> None:
    page.open(made(folder, "many-events"))
    assert len(shown(page)) == 500
    assert text(page, "#count").startswith("500 of 19")
    assert "the first 15,000, the last 5,000" in text(page, "#events .capped")
    page.click("#more")
    assert len(shown(page)) == 1000


def test_the_filter(page: Browser, folder: Path) -> None:
    page.open(made(folder, "debian-6.1-failures"))
    before = len(shown(page))
    page.value("control('filter').focus()")
    page.type("features_ok ENODEV")
    wait(page, "document.querySelectorAll('#tree tbody tr:not(.context)').length === 1")
    hit = text(page, "#tree tbody tr:not(.context)")
    assert "virtio_features_ok [virtio] 0000:00:05.0" in hit and "-19 ENODEV" in hit
    around = shown(page)
    outer = "virtio_dev_probe [virtio] 0000:00:05.0 virtio3 balloon virtio_balloon"
    assert any(line.endswith(outer) for line in around)
    assert len(around) < before / 4
    page.value("control('filter').value = ''; control('device').value = '0000:00:03.0';"
               "control('device').dispatchEvent(new Event('input'))")  # fmt: skip
    wait(page, "document.querySelectorAll('#tree tbody tr:not(.context)').length > 5")
    hits = page.value("[...document.querySelectorAll('#tree tbody tr:not(.context)')]"
                      ".map((e) => e.innerText)")  # fmt: skip
    assert all("0000:00:03.0" in line for line in hits)


def test_what_is_not_about_virtio_is_left_out_until_asked_for(page: Browser, folder: Path) -> None:
    page.open(made(folder, "debian-6.1-failures"))
    assert not any("cryptd" in line for line in shown(page))
    page.click("#all")
    wait(page, "document.querySelector('#tree').innerText.includes('cryptd')")


def test_a_call_folds(page: Browser, folder: Path) -> None:
    page.open(made(folder, "debian-6.1-failures"))
    before = shown(page)
    page.click("#event-70 .toggle")
    after = shown(page)
    assert len(after) < len(before) and not any("virtio_pci_probe" in line for line in after)
    assert page.value("document.activeElement.getAttribute('aria-expanded')") == "false"
    page.key(*ENTER)
    assert shown(page) == before


def test_a_cell_opens_its_events_and_its_source(page: Browser, folder: Path) -> None:
    page.open(made(folder, "debian-6.1-failures"))
    page.click(FAILED)
    said = text(page, "#panel")
    assert "0000:00:05.0, bus-probed: failed" in said
    assert "drivers/virtio/virtio.c, virtio_dev_probe" in said
    assert "the device refused the features that virtio_balloon wrote" in said
    lines = page.value("[...document.querySelectorAll('#panel .what')].map((e) => e.innerText)")
    assert lines[0].startswith("virtio_dev_probe [virtio] 0000:00:05.0")
    assert any("vp_set_status" in line and "FEATURES_OK" in line for line in lines)
    page.click(FAILED)
    assert page.value("document.getElementById('panel').hidden")


@pytest.mark.parametrize("name", ["debian-6.1-failures", "debian-6.1-host", "hostile"])
def test_every_cell_has_events(page: Browser, folder: Path, name: str) -> None:
    """Steps of the state at the end, and of the host, need not have one."""
    page.open(made(folder, name))
    bare = page.value(
        "[...document.querySelectorAll('.cell')].map((c) => [c.dataset.step, c.dataset.subject])"
        ".filter(([step, subject]) => !rowsOf(step, subject).length)"
    )
    assert {step for step, _ in bare} <= {"end-state"}


def test_by_keyboard(page: Browser, folder: Path) -> None:
    """Tab reaches the failed cell, Enter opens it, Escape closes it and returns to it."""
    page.open(made(folder, "debian-6.1-failures"))
    focused = "document.activeElement.matches"
    for _ in range(200):
        page.key(*TAB)
        if page.value(f"{focused}({FAILED!r})"):
            break
    assert page.value(f"{focused}({FAILED!r})")
    assert page.value("getComputedStyle(document.activeElement).outlineStyle") != "none"
    page.key(*ENTER)
    assert not page.value("document.getElementById('panel').hidden")
    assert page.value("document.activeElement.id") == "panel"
    page.key(*ESCAPE)
    assert page.value("document.getElementById('panel').hidden")
    assert page.value(f"{focused}({FAILED!r})")


def test_everything_with_a_click_has_the_focus_by_tab(page: Browser, folder: Path) -> None:
    page.open(made(folder, "debian-6.1-failures"))
    bare = page.value(
        "[...document.querySelectorAll('button, a, input, select, summary')]"
        ".filter((e) => e.tabIndex < 0 && e.getClientRects().length).length"
    )
    assert bare == 0


def test_a_finding_leads_to_its_event(page: Browser, folder: Path) -> None:
    page.open(made(folder, "debian-6.1-failures"))
    page.value("control('filter').value = 'nothing at all'; show()")
    page.click('#findings a[href="#event-262"]')
    wait(page, "document.querySelector('#event-262.target')")
    assert "virtio_dev_probe [virtio] 0000:00:05.0" in text(page, "#event-262")


def test_a_link_to_a_device_opens_its_part(page: Browser, folder: Path) -> None:
    page.open(made(folder, "many-devices"))
    part = "document.getElementById('device-0000_3a00_3a02_2e0')"
    assert not page.value(f"{part}.open")
    page.value("location.hash = '#device-0000_3a00_3a02_2e0'")
    wait(page, f"{part}.open")


def test_the_recording_is_saved_as_it_was(page: Browser, folder: Path) -> None:
    page.open(made(folder, "debian-6.1-host"))
    page.value(
        "window.saved = null; URL.createObjectURL = (blob) => { window.saved = blob; return '#'; };"
        "HTMLAnchorElement.prototype.click = function () { window.savedAs = this.download; }"
    )
    page.click("#save")
    wait(page, "window.savedAs")
    assert page.value("window.savedAs") == "virtio-trace.vtr"
    saved = page.value("window.saved.text()")
    assert saved == (GOLDEN / "debian-6.1-host.vtr").read_text(encoding="utf-8")


def test_the_kernels_log_is_among_the_events(page: Browser, folder: Path) -> None:
    page.open(made(folder, "debian-6.1-host"))
    lines = shown(page)
    place = next(n for n, line in enumerate(lines) if "probe of virtio1 failed" in line)
    assert any("virtnet_validate" in line and "0000:00:03.0" in line for line in lines[:place])
    assert page.value("document.querySelectorAll('.lanes .log').length") > 1
    page.click("#log")
    wait(page, "!document.querySelector('.log-row')")


def test_no_name_runs_a_script(page: Browser, folder: Path) -> None:
    page.open(made(folder, "hostile"))
    assert page.value("typeof window.pwned") == "undefined"
    assert page.value("document.images.length") == 0
    assert page.value("document.querySelectorAll('[onerror]').length") == 0
    for cell in range(0, page.value("document.querySelectorAll('.cell').length"), 5):
        page.value(f"document.querySelectorAll('.cell')[{cell}].click()")
    page.value("control('all').checked = true; limit = 10000; show()")
    assert page.value("document.images.length") == 0
    assert page.value("typeof window.pwned") == "undefined"
    assert recordings.NASTY[:20] in text(page, "#tree")


def test_the_policy_holds(chromium: Browser, folder: Path) -> None:
    """A script or a style that someone got into the page does not run."""
    chromium.open(made(folder, "debian-6.1"))
    chromium.value(
        "document.body.insertAdjacentHTML('beforeend', '<p id=x style=\"color:red\">x</p>"
        '<img src=x onerror="window.pwned = 1">\');'
        "const s = document.createElement('script'); s.textContent = 'window.pwned = 2';"
        "document.body.append(s); new Promise((done) => setTimeout(done, 200))"
    )
    assert chromium.value("typeof window.pwned") == "undefined"
    assert chromium.value("document.getElementById('x').style.color") in ("", None)
    assert any("Content Security Policy" in line for line in chromium.said)


def _luminance(colour: str) -> float:
    parts = [float(part) / 255 for part in colour[colour.index("(") + 1 : -1].split(",")[:3]]
    linear = [p / 12.92 if p <= 0.03928 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_contrast_is_that_of_wcag_aa(page: Browser, folder: Path, dark: bool) -> None:
    page.look(dark=dark)
    page.open(made(folder, "debian-6.1-failures"))
    pairs: list[list[str]] = page.value(
        "(() => { const found = new Map(); for (const e of document.querySelectorAll('body *')) {"
        "if (![...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim())) continue;"
        "if (!e.getClientRects().length || e.closest('.context, option, svg')) continue;"
        "let o = e, box = 'rgba(0, 0, 0, 0)';"
        "while (o && box.startsWith('rgba(')) { box = getComputedStyle(o).backgroundColor;"
        "o = o.parentElement; } found.set(getComputedStyle(e).color + box,"
        "[getComputedStyle(e).color, box, e.className + ' ' + e.tagName]); }"
        "return [...found.values()]; })()"
    )
    assert len(pairs) > 5
    for ink, box, what in pairs:
        low, high = sorted((_luminance(ink), _luminance(box)))
        assert (high + 0.05) / (low + 0.05) >= 4.5, (ink, box, what)


def test_light_and_dark_differ(page: Browser, folder: Path) -> None:
    page.open(made(folder, "debian-6.1"))
    background = "getComputedStyle(document.body).backgroundColor"
    assert _luminance(page.value(background)) > 0.9
    page.look(dark=True)
    assert _luminance(page.value(background)) < 0.05


@pytest.mark.parametrize("width", [1280, 700, 400])
def test_nothing_is_wider_than_the_window(page: Browser, folder: Path, width: int) -> None:
    """Wide tables scroll in their own boxes."""
    page.resize(width, 900)
    try:
        for name in ("debian-6.1-failures", "debian-6.1-host", "hostile"):
            page.open(made(folder, name))
            assert page.value("document.documentElement.scrollWidth") <= width, name
    finally:
        page.resize(1280, 900)


def test_printed(page: Browser, folder: Path) -> None:
    page.open(made(folder, "many-devices"))
    page.look(dark=True, media="print")
    assert _luminance(page.value("getComputedStyle(document.body).backgroundColor")) > 0.9
    for hidden in ("nav", "#controls", "#save", ".hint"):
        assert page.value(f"getComputedStyle(document.querySelector({hidden!r})).display") == "none"
    page.look()
    assert page.value("document.querySelectorAll('details.device:not([open])').length") > 0
    page.value("window.dispatchEvent(new Event('beforeprint'))")
    assert page.value("document.querySelectorAll('details:not([open])').length") == 0
    page.value("window.dispatchEvent(new Event('afterprint'))")
    assert page.value("document.querySelectorAll('details.device:not([open])').length") > 0
    assert page.pdf().startswith(b"%PDF-")


@pytest.mark.parametrize("media", ["", "print"])
def test_no_line_of_a_table_breaks_within_a_word(page: Browser, folder: Path, media: str) -> None:
    """Lines end at spaces, after the bars of lists of features, and after the hyphens of steps."""
    width = 700  # a sheet of paper has about as many CSS pixels
    page.resize(width, 900)
    try:
        page.look(media=media)
        page.open(made(folder, "debian-6.1-failures"))
        page.value("window.dispatchEvent(new Event('beforeprint'))")
        broken = page.value(
            "(() => { const found = []; const range = document.createRange();"
            "const walker = document.createTreeWalker(document.querySelector('main'), 4);"
            "for (let n = walker.nextNode(); n; n = walker.nextNode()) {"
            "if (!n.parentElement.closest('td, th')) continue;"
            "for (const word of n.data.matchAll(/[^\\s|-]+/g)) {"
            "range.setStart(n, word.index); range.setEnd(n, word.index + word[0].length);"
            "const tops = new Set([...range.getClientRects()].map((r) => Math.round(r.top)));"
            "if (tops.size > 1) found.push(word[0]); } } return found; })()"
        )
        assert broken == []
        if media:  # what is beyond the edge of the paper is lost
            beyond = page.value(
                "[...document.querySelectorAll('td, th')].filter((e) => "
                f"e.getBoundingClientRect().right > {width} + 1).map((e) => e.innerText)"
            )
            assert beyond == []
    finally:
        page.resize(1280, 900)


@pytest.mark.parametrize("name", ["debian-6.1", "many-devices", "many-events"])
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_a_screenshot_to_look_at(page: Browser, folder: Path, name: str, dark: bool) -> None:
    """Kept in build/page, for people; it must at least show something."""
    page.look(dark=dark)
    page.open(made(folder, name))
    kept = Path("build/page")
    kept.mkdir(parents=True, exist_ok=True)
    picture = kept / f"{name}-{'dark' if dark else 'light'}.png"
    page.screenshot(picture, whole=True)
    data = picture.read_bytes()
    width, height = struct.unpack(">II", data[16:24])
    assert width >= 1200 and height > 1500 and len(data) > 50_000


def test_the_recordings_are_what_they_are_for() -> None:
    lines: list[dict[str, Any]] = recordings.many_devices(25)
    assert len({one["device"]["address"] for one in lines if "device" in one}) == 25
    assert len(recordings.many_events(100_000)) > 100_000
    assert recordings.hostile()[0]["tool"] == recordings.NASTY
