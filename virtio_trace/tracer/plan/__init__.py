# SPDX-License-Identifier: GPL-2.0-or-later
"""Makes the plans that tracer/executor carries out. The host decides, the executor executes."""
