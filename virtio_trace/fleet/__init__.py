# SPDX-License-Identifier: GPL-2.0-or-later
"""Many recordings as Parquet files (a lake), and answers from them."""
