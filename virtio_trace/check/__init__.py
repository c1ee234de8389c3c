# SPDX-License-Identifier: GPL-2.0-or-later
"""The expected procedure, and the rules that check a graph against it."""
