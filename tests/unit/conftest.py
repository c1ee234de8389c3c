# SPDX-License-Identifier: GPL-2.0-or-later
"""Real kernels for the tests: Debian's, in the project's own cache, fetched where they are not."""

from __future__ import annotations

import pytest

from virtio_trace.kernel.files import vmlinuz
from virtio_trace.kernel.files.btf import Btf
from virtio_trace.vm.host import debian

KERNELS = {  # what differs: virtio modular, .ko, lz4; virtio built in, .ko.xz, zstd
    "6.1": "linux-image-cloud-amd64/bookworm",
    "6.12": "linux-image-cloud-amd64/trixie",
}


@pytest.fixture(scope="session", params=KERNELS)
def kernel(request: pytest.FixtureRequest) -> debian.KernelPackage:
    """Each of the kernels in turn. A test that cannot have them fails."""
    return debian.fetch(KERNELS[request.param])


@pytest.fixture(scope="session")
def kernel_6_1() -> debian.KernelPackage:
    """The kernel in which all of virtio is a module."""
    return debian.fetch(KERNELS["6.1"])


@pytest.fixture(scope="session")
def kernel_btf(kernel: debian.KernelPackage) -> Btf:
    """The types of ``kernel``."""
    return vmlinuz.btf(kernel.vmlinuz)
