# SPDX-License-Identifier: GPL-2.0-or-later
"""Reports on a graph, as plain data."""
