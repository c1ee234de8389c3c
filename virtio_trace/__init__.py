# SPDX-License-Identifier: GPL-2.0-or-later
"""virtio-trace: what a real Linux kernel does with its VirtIO devices, and whether it should."""

__version__ = "0.1.0"
