# SPDX-License-Identifier: GPL-2.0-or-later
"""The expected procedure, and the rules that hold a graph to it."""
