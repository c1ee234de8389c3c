# SPDX-License-Identifier: GPL-2.0-or-later
"""What happened, rebuilt from events: calls, devices, drivers, bindings. Nothing here judges."""
