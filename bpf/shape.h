/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The probe point that a program serves: its number in the lower 32 bits, its shape (enum vt_shape)
 * in the upper.
 */
#ifndef VT_SHAPE_H
#define VT_SHAPE_H

#include "helpers.h"

/*
 * With VT_COOKIE, one loaded program serves all points, and its attachment says which: a BPF
 * cookie, since Linux 5.15. Without, the program is loaded for each point with the point in the
 * place of a constant; the verifier knows it and removes the code that the point does not need.
 */
static __always_inline u64 probe_point(void *ctx)
{
#ifdef VT_COOKIE
	return vt_attach_cookie(ctx);
#else
	u64 point;

	(void)ctx;
	asm volatile("%0 = 0x76742d70726f6265 ll" : "=r"(point));
	return point;
#endif
}

static __always_inline u32 probe_number(u64 point)
{
	return (u32)point;
}

static __always_inline u32 shape(u64 point)
{
	return point >> 32;
}

static __always_inline u32 subject(u64 point)
{
	return shape(point) & 15;
}

static __always_inline u32 detail(u64 point)
{
	return shape(point) >> 4 & 15;
}

#endif
