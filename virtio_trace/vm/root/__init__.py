# SPDX-License-Identifier: GPL-2.0-or-later
"""What a guest boots: archives, the appliance, the scripts in front of an initrd."""
