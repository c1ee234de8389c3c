/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Events in the ring buffer: reserve, fill in what all of them have, count what is lost. */
#ifndef VT_RING_H
#define VT_RING_H

#include "helpers.h"
#include "maps.h"
#include "shape.h"

static __always_inline u64 *lost_here(u64 point)
{
	struct vt_lost_here *lost = VT_VALUE(VT_MAP_LOST_HERE);

	return &lost->at[probe_number(point) & (VT_MAX_POINTS - 1)];
}

/* Counts an event as lost: it, or the description of its device or driver, had no room. */
static __always_inline void miss(u64 point)
{
	struct vt_count *count = VT_VALUE(VT_MAP_COUNT);

	__sync_fetch_and_add(&count->lost, 1);
	__sync_fetch_and_add(lost_here(point), 1);
}

/* Reserves a record; the verifier wants a constant size. NULL: there was no room. */
#define RESERVE(type) ((type *)vt_ringbuf_reserve(VT_MAP(VT_MAP_EVENTS), sizeof(type), 0))

/*
 * Fills in what all events have, and returns `has`, which the caller stores. Called after the
 * reserve, so that events are in the ring in the order of their times. NAMED: the thread's comm is
 * in an earlier event.
 */
static __always_inline u32 describe(struct vt_event *e, u64 point, u32 kind, u32 tid, u64 stack,
				    bool named)
{
	struct vt_count *count = VT_VALUE(VT_MAP_COUNT);
	u32 has = 0;

	e->kind = kind;
	e->probe = probe_number(point);
	e->tid = tid;
	e->stack = stack;
	e->ns = vt_ktime_ns();
	e->cpu = vt_cpu();
	if (!named) {
		vt_comm(e->comm, sizeof(e->comm));
		has |= VT_HAS_COMM;
	}
	if (count->lost) {
		e->lost = count->lost;
		e->lost_here = *lost_here(point);
		has |= VT_HAS_LOST;
	}
	return has;
}

/*
 * The recorder polls every 100 ms. Waking it for each event would cost as much as an event itself,
 * so it is woken only when the ring fills faster than it polls.
 */
static __always_inline void submit(void *record)
{
	struct vt_count *count = VT_VALUE(VT_MAP_COUNT);

	vt_ringbuf_submit(record, ++count->submitted & (VT_WAKE_EVERY - 1)
					  ? VT_BPF_RB_NO_WAKEUP
					  : VT_BPF_RB_FORCE_WAKEUP);
}

#endif
