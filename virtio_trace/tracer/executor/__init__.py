# SPDX-License-Identifier: GPL-2.0-or-later
"""What runs in a guest beside the recorder. Standard library alone, nothing of other rooms."""
