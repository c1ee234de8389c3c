/* SPDX-License-Identifier: GPL-2.0-or-later */
/* BCC brings its own uapi/linux/bpf.h and hides this one. */
