# SPDX-License-Identifier: GPL-2.0-or-later
"""The executor's terminal settings are those that the C library makes."""

from __future__ import annotations

import os
import termios
import tty

from virtio_trace.tracer.executor import terminal


def test_raw_is_what_the_library_makes_of_a_terminal() -> None:
    found = []
    for ours in (True, False):
        controller, port = os.openpty()
        if ours:
            terminal.raw(port)
            terminal.drain(port)
        else:
            tty.setraw(port)
            attributes = termios.tcgetattr(port)
            attributes[4] = attributes[5] = termios.B115200
            termios.tcsetattr(port, termios.TCSANOW, attributes)
        settings = termios.tcgetattr(port)
        # tty.setraw() of Python 3.12 and later clears more of the input flags.
        more = termios.IGNBRK | termios.PARMRK | termios.INLCR | termios.IGNCR
        settings[0] &= ~(more | termios.IXANY | termios.IXOFF)
        found.append((settings[0], *settings[1:]))
        os.close(port)
        os.close(controller)
    assert found[0] == found[1]
    assert found[0][5] == termios.B115200
