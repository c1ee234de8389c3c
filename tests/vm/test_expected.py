# SPDX-License-Identifier: GPL-2.0-or-later
"""boot --board and --strict: a boot held to a board; diff and --baseline between two boots."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

_BOOT = ("boot", "-q", "--debian", "linux-image-cloud-amd64/bookworm")
_NET = ("-nic", "none", "-netdev", "user,id=n", "-device")
_BOARD = """
[[device]]
type = "net"
driver = "virtio_net"
features = ["VIRTIO_NET_F_MRG_RXBUF"]
queues = 3

[[device]]
type = "balloon"
optional = true
"""


def _run(*line: object) -> tuple[int, str]:
    command = [sys.executable, "-m", "virtio_trace", *map(str, line)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert "Traceback" not in done.stderr
    return done.returncode, done.stdout


def test_a_boot_is_held_to_a_board(tmp_path: Path) -> None:
    """A network device without a feature: one error, named by the board and by the diff."""
    good, bad, board = tmp_path / "good.vtr", tmp_path / "bad.vtr", tmp_path / "board.toml"
    board.write_text(_BOARD)
    held = (*_BOOT, "--strict", "--board", board, "-o")
    status, out = _run(*held, good, "--", *_NET, "virtio-net-pci,netdev=n,addr=2")
    assert status == 0, out
    assert re.search(r"^BOARD\nsubject .* features  queues$", out, re.MULTILINE)
    off = "virtio-net-pci,netdev=n,addr=2,mrg_rxbuf=off"
    status, out = _run(*held, bad, "--", *_NET, off)
    assert status == 1, out
    assert out.startswith("DEVIATES")
    assert "not negotiated: VIRTIO_NET_F_MRG_RXBUF (the device does not offer it)" in out
    status, out = _run("diff", good, bad)
    assert status == 1
    assert out.startswith("DIFFERENT: 2 differences")
    assert "negotiated: no more VIRTIO_NET_F_MRG_RXBUF" in out
    status, out = _run("check", "--baseline", good, bad)
    assert status == 1
    assert "ERRORS (1)" in out
