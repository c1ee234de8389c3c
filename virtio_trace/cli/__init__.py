# SPDX-License-Identifier: GPL-2.0-or-later
"""One file a command; the only place that prints or exits."""
