# SPDX-License-Identifier: GPL-2.0-or-later
"""The browser of the page's tests. Without one, the run fails and says what to install."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.page.browser import PROGRAMS, Browser, browser, program


def pytest_sessionstart() -> None:
    """Nothing is skipped silently."""
    if program() is None:
        pytest.exit(
            f"no browser: none of {', '.join(PROGRAMS)} is installed; apt install chromium, "
            "or make page, which does that",
            returncode=3,
        )


@pytest.fixture(scope="session")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """A browser for all tests; each opens its own page."""
    with browser(tmp_path_factory.mktemp("profile")) as found:
        found.resize(1280, 900)
        yield found


@pytest.fixture
def page(chromium: Browser) -> Iterator[Browser]:
    """The browser, as on a light screen. A page must neither complain nor ask for anything."""
    chromium.look()
    yield chromium
    assert chromium.said == []
    assert all(address.startswith(("file:", "blob:")) for address in chromium.asked)
    assert sum(address.startswith("file:") for address in chromium.asked) <= 1


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where recordings, pages and pictures are."""
    return tmp_path_factory.mktemp("pages")
