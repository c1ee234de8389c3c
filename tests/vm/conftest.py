# SPDX-License-Identifier: GPL-2.0-or-later
"""Boots the GUESTS and BOOTS of the collected modules, three at a time, while tests run: guests
wait more than they work.

A test whose guest does not boot fails. ``--no-vm`` is the only way to skip.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from tests.vm.guest import Boot, boot

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


_SECONDS = 60
"""What a boot of a module's BOOTS takes, against its guests' own. A module's SECONDS is better."""

Started = dict[tuple[str, str], Future[Any]]
_STARTED = pytest.StashKey[Started]()


def _boots(session: pytest.Session) -> dict[tuple[str, str], tuple[int, Callable[[Path], Any]]]:
    """By module and name: how long the boot takes, and its function."""
    found: dict[tuple[str, str], tuple[int, Callable[[Path], Any]]] = {}
    if session.config.option.collectonly:
        return found
    for item in session.items:
        if isinstance(item, pytest.Function) and item.get_closest_marker("skip") is None:
            module = item.module.__name__
            for name, guest in getattr(item.module, "GUESTS", {}).items():
                found[module, name] = guest.seconds, partial(boot, guest)
            for name, other in getattr(item.module, "BOOTS", {}).items():
                found[module, name] = getattr(item.module, "SECONDS", _SECONDS), other
    return found


@pytest.hookimpl(wrapper=True)
def pytest_runtestloop(session: pytest.Session) -> Iterator[None]:
    """Starts the boots with the first test of any kind: unit tests leave a processor free. What
    they do to their own process (environment, limits) must not reach QEMU."""
    with TemporaryDirectory(prefix="vt-boots-") as folder:
        pool = ProcessPoolExecutor(_AT_ONCE)
        try:
            longest_first = sorted(_boots(session).items(), key=lambda named: -named[1][0])
            session.config.stash[_STARTED] = {
                (module, name): pool.submit(start, Path(folder) / f"{module}-{name}")
                for (module, name), (_, start) in longest_first
            }
            return (yield)
        finally:
            pool.shutdown(cancel_futures=True)


@pytest.fixture(scope="session")
def boots(pytestconfig: pytest.Config) -> Started:
    """Every boot of the session."""
    return pytestconfig.stash[_STARTED]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "booted" in metafunc.fixturenames:
        names = list(metafunc.module.GUESTS)
        metafunc.parametrize("booted", names, indirect=True, scope="module")


@pytest.fixture(scope="module")
def booted(request: pytest.FixtureRequest, boots: Started) -> Boot:
    """Each of the module's GUESTS in turn, booted."""
    found: Boot = boots[request.module.__name__, request.param].result()
    return found
