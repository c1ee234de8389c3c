# SPDX-License-Identifier: GPL-2.0-or-later
"""Disk images: partitions, file systems, boot loaders, and what is taken out of them."""
