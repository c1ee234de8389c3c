# SPDX-License-Identifier: GPL-2.0-or-later
"""What only ``virtio-trace matrix`` uses."""
