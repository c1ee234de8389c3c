/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Reads of kernel memory at an offset in bytes; 0 if the memory cannot be read. */
#ifndef VT_READ_H
#define VT_READ_H

#include "helpers.h"

static __always_inline u64 read_u64(u64 base, u32 offset)
{
	u64 number = 0;

	vt_read(&number, sizeof(number), (void *)(base + offset));
	return number;
}

static __always_inline u32 read_u32(u64 base, u32 offset)
{
	u32 number = 0;

	vt_read(&number, sizeof(number), (void *)(base + offset));
	return number;
}

static __always_inline u16 read_u16(u64 base, u32 offset)
{
	u16 number = 0;

	vt_read(&number, sizeof(number), (void *)(base + offset));
	return number;
}

#endif
