# SPDX-License-Identifier: GPL-2.0-or-later
"""Modules from Debian's own initrds, compared with the image's /lib/modules, which debugfs reads.

It boots nothing.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.vm import images
from virtio_trace.tracer.points import offline
from virtio_trace.vm.disk import extract, image_modules, initrd_modules
from virtio_trace.vm.host.programs import quiet

_LISTING = {
    "bookworm": "zstd -dc {} | cpio -t --quiet",
    "trixie": "cpio -t --quiet <{}",  # its first archive, the one with the modules
    "dracut": "gzip -dc {} | cpio -t --quiet",
}


@pytest.mark.parametrize("name", _LISTING)
def test_they_are_the_images_own(name: str, tmp_path: Path) -> None:
    system = extract.extract_system(images.image(name), "root=/dev/vda", tmp_path, quiet)
    assert system.modules is not None
    release = image_modules.release(system.vmlinuz)
    scratch = tmp_path / "initrd"
    scratch.mkdir()
    notes: list[str] = []
    tree = initrd_modules.extract(system.initrds, release, scratch, quiet, notes)
    assert tree is not None
    assert (tree.name, notes) == (system.modules.name, [])
    files = {str(path.relative_to(tree)): path for path in tree.rglob("*") if path.is_file()}
    modules = {file for file in files if not file.startswith("modules.")}
    for file in modules | {"modules.builtin"}:
        assert files[file].read_bytes() == (system.modules / file).read_bytes(), file
    command = _LISTING[name].format(system.initrds[0])
    said = subprocess.run(["sh", "-c", command], check=True, capture_output=True, text=True)
    theirs = {line.partition(f"/{release}/")[2] for line in said.stdout.splitlines()}
    virtio = {file for file in theirs if ".ko" in file and "virtio" in file.rpartition("/")[2]}
    assert virtio
    assert modules == virtio
    drivers = {driver.name for driver in offline.read(system.vmlinuz, tree).evidence.drivers}
    assert {"virtio_blk", "virtio_scsi"} <= drivers
