# SPDX-License-Identifier: GPL-2.0-or-later
"""Numbers and names of the VirtIO specification."""
