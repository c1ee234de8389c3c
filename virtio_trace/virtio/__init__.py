# SPDX-License-Identifier: GPL-2.0-or-later
"""The VirtIO specification's numbers and names, and the transports of Linux."""
