# SPDX-License-Identifier: GPL-2.0-or-later
"""Recordings: of this kernel, and of a guest without an agent."""
