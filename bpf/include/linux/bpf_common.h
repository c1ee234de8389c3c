/* SPDX-License-Identifier: GPL-2.0-or-later */
/* BCC's bpf.h includes this for instruction macros, and uses none of them. */
