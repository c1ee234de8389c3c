# SPDX-License-Identifier: GPL-2.0-or-later
"""Recording sessions: live, and of a guest without an agent."""
