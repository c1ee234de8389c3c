# SPDX-License-Identifier: GPL-2.0-or-later
"""Many boots: kernels by boards of devices, each held to what is expected of it."""
