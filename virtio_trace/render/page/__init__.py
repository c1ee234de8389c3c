# SPDX-License-Identifier: GPL-2.0-or-later
"""The parts of ``report --format html``; render/html.py puts them together."""
