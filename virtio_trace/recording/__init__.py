# SPDX-License-Identifier: GPL-2.0-or-later
"""The recording file: its schema, reader and writer."""
