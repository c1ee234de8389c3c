/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What need not be read again, because the thread is inside a call whose entry has told it: the
 * thread's name, and the driver of a device that is being bound or unbound.
 *
 * A call is known by a mark: the thread id, and the lower half of the stack pointer at its entry.
 * Stacks grow down, so whatever the thread does inside the call is at or below it. The return of the
 * call removes the mark. If that is missed, the next call at or above it replaces it.
 *
 * Threads whose ids are equal modulo VT_MAX_THREADS share a slot. Each then finds the other's mark,
 * and reads for itself.
 */
#ifndef VT_THREADS_H
#define VT_THREADS_H

#include "helpers.h"
#include "maps.h"
#include "shape.h"

static __always_inline struct vt_thread *thread_of(u32 tid)
{
	struct vt_threads *threads = VT_VALUE(VT_MAP_THREADS);

	return &threads->at[tid & (VT_MAX_THREADS - 1)];
}

static __always_inline u64 mark_of(u32 tid, u64 stack)
{
	return tid | stack << 32;
}

/* Is the thread TID inside the call of MARK? */
static __always_inline bool inside(u64 mark, u32 tid, u64 stack)
{
	return (u32)mark == tid && (s32)((u32)stack - (u32)(mark >> 32)) <= 0;
}

/* Is a return of the thread TID that of the call of MARK? On x86-64 it has popped its address. */
static __always_inline bool returns_from(u64 mark, u32 tid, u64 stack)
{
	return (u32)mark == tid && (u32)stack - (u32)(mark >> 32) <= 8;
}

static __always_inline bool is_bound(const struct vt_thread *t, u32 tid, u64 stack, u64 device)
{
	return t->device == device && inside(t->binding, tid, stack);
}

/* After its record has its place in the ring, an entry may stand for what happens inside. */
static __always_inline void opened(struct vt_thread *t, u64 point, u32 tid, u64 stack, u64 device,
				   u64 driver)
{
	if (shape(point) & VT_RETURNS && !inside(t->open, tid, stack))
		t->open = mark_of(tid, stack);
	if (shape(point) & VT_BINDS) {
		t->device = device;
		t->driver = driver;
		t->binding = mark_of(tid, stack);
	}
}

/* Before its record is sent, a return ends what its entry stood for. True: its comm was sent. */
static __always_inline bool closed(struct vt_thread *t, u64 point, u32 tid, u64 stack)
{
	if (shape(point) & VT_BINDS && (u32)t->binding == tid)
		t->binding = 0;
	if (!returns_from(t->open, tid, stack))
		return inside(t->open, tid, stack);
	t->open = 0;
	return true;
}

#endif
