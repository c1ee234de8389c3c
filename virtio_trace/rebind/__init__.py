# SPDX-License-Identifier: GPL-2.0-or-later
"""Unbinding and binding a device again, and what the machine would lose meanwhile."""
