# SPDX-License-Identifier: GPL-2.0-or-later
"""The running kernel: procfs, sysfs, its log, its command line."""
