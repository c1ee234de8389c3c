# SPDX-License-Identifier: GPL-2.0-or-later
"""Boots what the collected modules name in their GUESTS, three at a time, while tests run:
guests wait more than they work.

A test that cannot have its guest fails. ``--no-vm`` is the one way to skip.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.vm.guest import Boot, Guest, boot

HERE = Path(__file__).parent
_AT_ONCE = 3


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--no-vm", action="store_true", help="skip the tests that boot a kernel")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.vm)
            if config.getoption("--no-vm") or os.environ.get("VIRTIO_TRACE_NO_VM"):
                item.add_marker(pytest.mark.skip(reason="asked for: --no-vm"))


def _guests(request: pytest.FixtureRequest) -> dict[tuple[str, str], Guest]:
    """By module and name, in the order of the tests."""
    found = {}
    for item in request.session.items:
        if isinstance(item, pytest.Function) and item.get_closest_marker("skip") is None:
            for name, guest in getattr(item.module, "GUESTS", {}).items():
                found[item.module.__name__, name] = guest
    return found


@pytest.fixture(scope="session")
def boots(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[tuple[str, str], Future[Boot]]]:
    """Every guest's boot: as many at once as there are processors for."""
    folder = tmp_path_factory.mktemp("boots")
    pool = ThreadPoolExecutor(_AT_ONCE)
    try:
        longest_first = sorted(_guests(request).items(), key=lambda named: -named[1].seconds)
        yield {
            (module, name): pool.submit(boot, guest, folder / f"{module}-{name}")
            for (module, name), guest in longest_first
        }
    finally:
        pool.shutdown(cancel_futures=True)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "booted" in metafunc.fixturenames:
        names = list(metafunc.module.GUESTS)
        metafunc.parametrize("booted", names, indirect=True, scope="module")


@pytest.fixture(scope="module")
def booted(request: pytest.FixtureRequest, boots: dict[tuple[str, str], Future[Boot]]) -> Boot:
    """Each of the module's GUESTS in turn, booted."""
    return boots[request.module.__name__, request.param].result()
