# SPDX-License-Identifier: GPL-2.0-or-later
"""Collecting by eBPF: loading the program, and decoding what it sends."""
