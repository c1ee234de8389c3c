# SPDX-License-Identifier: GPL-2.0-or-later
"""Formats of a kernel's files and memory: ELF, BTF, kallsyms, kernel images, module trees."""
