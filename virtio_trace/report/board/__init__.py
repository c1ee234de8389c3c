# SPDX-License-Identifier: GPL-2.0-or-later
"""Boards: what virtio devices a machine is expected to have, as TOML."""
