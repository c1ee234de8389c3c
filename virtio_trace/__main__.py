# SPDX-License-Identifier: GPL-2.0-or-later
"""Where the installed command starts, and ``python3 -m virtio_trace``, the recorder in a guest."""

from __future__ import annotations

# Not signal: it imports enum, and for those milliseconds Ctrl-C would still print a traceback.
import _signal  # type: ignore[import-not-found]


def main() -> None:
    """Run the command line.

    Ctrl-C ends the process at once and silently, as it does a C program: Python's KeyboardInterrupt
    would print a traceback while modules are imported or the interpreter shuts down. A command that
    must clean up catches the signal itself (cli.support.interrupts). While Python itself starts,
    before this function runs, a traceback is out of our hands.
    """
    if _signal.getsignal(_signal.SIGINT) is _signal.default_int_handler:
        _signal.signal(_signal.SIGINT, _signal.SIG_DFL)
    from virtio_trace.cli.main import main as run  # noqa: PLC0415

    run()


if __name__ == "__main__":
    main()
