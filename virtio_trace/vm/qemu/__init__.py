# SPDX-License-Identifier: GPL-2.0-or-later
"""QEMU: its command line, its process, its monitor, the channel out of the guest."""
