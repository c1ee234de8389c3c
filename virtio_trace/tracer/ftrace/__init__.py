# SPDX-License-Identifier: GPL-2.0-or-later
"""Collecting with tracefs alone, and the events that the kernel recorded at boot."""
