# SPDX-License-Identifier: GPL-2.0-or-later
"""python3 -m virtio_trace: how the guest of ``boot`` starts the recorder, nothing installed.

The installed command starts here too.
"""

from __future__ import annotations

import signal


def main() -> None:
    """An interrupt while the command line is imported ends us as it would a C program, silently."""
    handler = signal.getsignal(signal.SIGINT)
    if handler is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from virtio_trace.cli.main import main as run  # noqa: PLC0415

    if handler is signal.default_int_handler:
        signal.signal(signal.SIGINT, handler)
    run()


if __name__ == "__main__":
    main()
