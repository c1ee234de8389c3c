# SPDX-License-Identifier: GPL-2.0-or-later
"""The virtio drivers of a kernel: in modules, in an image, in memory."""
