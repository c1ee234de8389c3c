# SPDX-License-Identifier: GPL-2.0-or-later
"""Terminal settings by ioctl(2): the modules termios and tty take longer to load than they run.

The numbers and struct ktermios are those of include/uapi/asm-generic/termbits.h and ioctls.h, which
x86-64, arm64 and riscv64 share.
"""

from __future__ import annotations

import struct
from fcntl import ioctl

_TCGETS, _TCSETSF, _TCSBRK = 0x5401, 0x5404, 0x5409
_TERMIOS = struct.Struct("<4IB19s")  # struct termios, 36 bytes
_INPUT = 0x2 | 0x10 | 0x20 | 0x100 | 0x400  # BRKINT, INPCK, ISTRIP, ICRNL, IXON
_OPOST = 0x1
_CONTROL = 0x30 | 0x100 | 0x100F  # CSIZE, PARENB, CBAUD
_CS8, _B115200 = 0x30, 0x1002
_LOCAL = 0x1 | 0x2 | 0x8 | 0x8000  # ISIG, ICANON, ECHO, IEXTEN
_VTIME, _VMIN = 5, 6


def raw(descriptor: int) -> None:
    """Make the terminal carry bytes as they are, at 115200 baud. Raises OSError."""
    old = ioctl(descriptor, _TCGETS, bytes(_TERMIOS.size))
    inputs, outputs, control, local, line, characters = _TERMIOS.unpack(old)
    characters = bytearray(characters)
    characters[_VTIME], characters[_VMIN] = 0, 1
    new = _TERMIOS.pack(
        inputs & ~_INPUT,
        outputs & ~_OPOST,
        control & ~_CONTROL | _CS8 | _B115200,
        local & ~_LOCAL,
        line,
        bytes(characters),
    )
    ioctl(descriptor, _TCSETSF, new)


def drain(descriptor: int) -> None:
    """Wait until the terminal has sent all that was written. Raises OSError."""
    ioctl(descriptor, _TCSBRK, 1)
