# SPDX-License-Identifier: GPL-2.0-or-later
"""Executes a plan: loads BPF programs, defines and attaches probes, hands out what the ring has.

It decides nothing, and imports nothing of virtio_trace but itself: in a guest it runs on a Python
that has a few files of its standard library. See docs/decisions/0023.
"""
