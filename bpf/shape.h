/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The probe point's number and shape: constants of each loaded program. */
#ifndef VT_SHAPE_H
#define VT_SHAPE_H

/*
 * The loader finds this constant in a program and replaces it: the number in the lower 32 bits, the
 * shape (enum vt_shape) in the upper.
 */
static __always_inline u64 probe_point(void)
{
	u64 point;

	asm volatile("%0 = 0x76742d70726f6265 ll" : "=r"(point));
	return point;
}

static __always_inline u32 probe_number(void)
{
	return (u32)probe_point();
}

static __always_inline u32 shape(void)
{
	return probe_point() >> 32;
}

static __always_inline u32 subject(void)
{
	return shape() & 15;
}

static __always_inline u32 detail(void)
{
	return shape() >> 4 & 15;
}

#endif
