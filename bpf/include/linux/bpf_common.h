/* SPDX-License-Identifier: GPL-2.0-or-later */
/* BCC's bpf.h includes this for macros about instructions; it uses none of them. */
