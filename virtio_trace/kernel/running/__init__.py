# SPDX-License-Identifier: GPL-2.0-or-later
"""What the running kernel says: procfs, sysfs, its log, its command line."""
