# SPDX-License-Identifier: GPL-2.0-or-later
"""python3 -m virtio_trace: how the guest of ``boot`` starts the recorder, nothing installed."""

from virtio_trace.cli.main import main

main()
