# SPDX-License-Identifier: GPL-2.0-or-later
"""Debian kernels for the tests, from the project's cache, fetched if they are missing.

Tests that use the fixture ``fetch``, directly or not, are marked ``network``.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from virtio_trace.kernel.files import vmlinuz
from virtio_trace.kernel.files.btf import Btf
from virtio_trace.vm.host import debian

KERNELS = {  # 6.1: virtio modular, .ko, lz4; 6.12: virtio built in, .ko.xz, zstd
    "6.1": "linux-image-cloud-amd64/bookworm",
    "6.12": "linux-image-cloud-amd64/trixie",
}


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Runs first, because pytest's own hook then deselects by marker."""
    for item in items:
        if "fetch" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.network)


@pytest.fixture(scope="session")
def fetch() -> Callable[..., debian.KernelPackage]:
    """debian.fetch: the only way for a unit test to get a real kernel."""
    return debian.fetch


@pytest.fixture(scope="session", params=KERNELS)
def kernel(
    request: pytest.FixtureRequest, fetch: Callable[..., debian.KernelPackage]
) -> debian.KernelPackage:
    """Each of KERNELS. A test fails if its kernel cannot be fetched."""
    return fetch(KERNELS[request.param])


@pytest.fixture(scope="session")
def kernel_6_1(fetch: Callable[..., debian.KernelPackage]) -> debian.KernelPackage:
    """The kernel in which all of virtio is modular."""
    return fetch(KERNELS["6.1"])


@pytest.fixture(scope="session")
def kernel_btf(kernel: debian.KernelPackage) -> Btf:
    """The BTF types of ``kernel``."""
    return vmlinuz.btf(kernel.vmlinuz)
