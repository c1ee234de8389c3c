/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef VT_PAGE_H
#define VT_PAGE_H
/* BCC sizes perf buffers by this; the program has no perf buffer. */
#define PAGE_SIZE 4096
#endif
