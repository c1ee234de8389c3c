/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Events in the ring buffer: reserve, fill in what all of them have, count what is lost. */
#ifndef VT_RING_H
#define VT_RING_H

#include "maps.h"
#include "shape.h"

/* Counts an event as lost: it, or the description of its device or driver, had no room. */
static __always_inline void miss(struct vt_count *c)
{
	u32 probe = probe_number();
	u64 *here = lost_here.lookup(&probe);

	__sync_fetch_and_add(&c->lost, 1);
	if (here)
		__sync_fetch_and_add(here, 1);
}

/* Called after the reserve, so that events are in the ring in the order of their times. */
static __always_inline void describe(struct vt_event *e, struct vt_count *c, u32 kind, u64 stack)
{
	u32 probe = probe_number();

	__builtin_memset(e, 0, sizeof(*e));
	e->kind = kind;
	e->probe = probe;
	e->stack = stack;
	e->lost = c->lost;
	if (e->lost) {
		u64 *here = lost_here.lookup(&probe);

		if (here)
			e->lost_here = *here;
	}
	e->ns = bpf_ktime_get_ns();
	e->cpu = bpf_get_smp_processor_id();
	e->tid = (u32)bpf_get_current_pid_tgid();
	bpf_get_current_comm(e->comm, sizeof(e->comm));
}

/* Reserves an event; NAMED: a struct vt_named. NULL: there was no room, and it was counted. */
static __always_inline struct vt_event *begin(struct vt_count *c, u32 kind, u64 stack, bool named)
{
	struct vt_event *e;

	if (named)
		e = events.ringbuf_reserve(sizeof(struct vt_named));
	else
		e = events.ringbuf_reserve(sizeof(struct vt_event));
	if (!e) {
		miss(c);
		return NULL;
	}
	describe(e, c, kind, stack);
	if (named)
		((struct vt_named *)e)->name[0] = 0;
	return e;
}

/*
 * Flags for ringbuf_submit. The recorder polls every 100 ms. Waking it for each event would cost as
 * much as an event itself, so it is woken only when the ring fills faster than it polls.
 */
static __always_inline u64 wake(struct vt_count *c)
{
	return ++c->submitted & (WAKE_EVERY - 1) ? BPF_RB_NO_WAKEUP : BPF_RB_FORCE_WAKEUP;
}

#endif
