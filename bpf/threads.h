/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What need not be read again, because the thread is inside a call whose entry has told it: the
 * thread's name, and the driver of a device that is being bound or unbound.
 *
 * A call is known by its mark, the stack pointer at its entry. Stacks grow down, so whatever the
 * thread does inside the call is at or below it. The return of the call removes the mark. If that
 * is missed, the next call at or above it replaces it.
 *
 * Threads whose ids are equal modulo VT_MAX_THREADS share a slot. They have other stacks: each then
 * finds that it is not inside the other's call, and reads for itself.
 */
#ifndef VT_THREADS_H
#define VT_THREADS_H

#include "helpers.h"
#include "maps.h"
#include "shape.h"

static __always_inline struct vt_thread *thread_of(u32 tid)
{
	struct vt_threads *threads = VT_VALUE(VT_MAP_THREADS);
	struct vt_thread *thread = &threads->at[tid & (VT_MAX_THREADS - 1)];

	asm volatile("" : "+r"(thread)); /* else clang computes it again for each use */
	return thread;
}

/*
 * Are two addresses on one stack? Stacks are aligned to their size, which is at least 16 KiB
 * (THREAD_SIZE). Of a larger one this may say no, and costs a few instructions.
 */
static __always_inline bool same_stack(u64 one, u64 other)
{
	return (one ^ other) >> 14 == 0;
}

static __always_inline bool inside(u64 mark, u64 stack)
{
	return stack <= mark && same_stack(mark, stack);
}

/* Is the STACK of a return that of the call of MARK? On x86-64 it has popped its address. */
static __always_inline bool returns_from(u64 mark, u64 stack)
{
	return stack - mark <= 8;
}

static __always_inline bool is_bound(const struct vt_thread *t, u64 stack, u64 device)
{
	return t->device == device && inside(t->binding, stack);
}

/*
 * After its record has its place in the ring, an entry may stand for what happens inside. NAMED: it
 * is inside another.
 */
static __always_inline void opened(struct vt_thread *t, u64 point, u64 stack, bool named,
				   u64 device, u64 driver)
{
	if (!named && shape(point) & VT_RETURNS)
		t->open = stack;
	if (shape(point) & VT_BINDS) {
		t->device = device;
		t->driver = driver;
		t->binding = stack;
	}
}

/* Before its record is sent, a return ends what its entry stood for. True: its comm was sent. */
static __always_inline bool closed(struct vt_thread *t, u64 point, u64 stack)
{
	if (shape(point) & VT_BINDS && returns_from(t->binding, stack))
		t->binding = 0;
	if (!returns_from(t->open, stack))
		return inside(t->open, stack);
	t->open = 0;
	return true;
}

#endif
