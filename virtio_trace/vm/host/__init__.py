# SPDX-License-Identifier: GPL-2.0-or-later
"""What the host has: programs, packages, the cache."""
