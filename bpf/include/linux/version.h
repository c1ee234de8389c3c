/* SPDX-License-Identifier: GPL-2.0-or-later */
/* BCC compares these. Nothing in our program depends on a version. */
#ifndef VT_VERSION_H
#define VT_VERSION_H
#define KERNEL_VERSION(a, b, c) (((a) << 16) + ((b) << 8) + ((c) > 255 ? 255 : (c)))
#define LINUX_VERSION_CODE KERNEL_VERSION(5, 8, 0)
#endif
