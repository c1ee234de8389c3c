# SPDX-License-Identifier: GPL-2.0-or-later
"""The probe points, and which function each one is on a given kernel."""
