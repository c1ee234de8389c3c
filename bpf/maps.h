/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The maps that all programs share, and their sizes. */
#ifndef VT_MAPS_H
#define VT_MAPS_H

#include "events.h"

#define MAX_THREADS 4096
#define MAX_DEPTH 4	/* a power of two: nested calls of one function in a thread */
#define MAX_KNOWN 1024	/* a power of two: slots for described devices and drivers */
#define RING_PAGES 256	/* 1 MiB: about 8,000 unread events */
#define WAKE_EVERY 1024 /* a power of two: wake the recorder after this many events */

/* An open call of a VT_SAVE_ARGS function: its return needs the arguments. */
struct vt_call {
	u64 ns;
	u64 argument;
	u64 second;
};

struct vt_key {
	u32 tid;
	u32 probe;
};

struct vt_calls {
	u32 depth;
	u32 unused;
	struct vt_call at[MAX_DEPTH];
};

struct vt_count {
	u64 lost;      /* events that found no room in the ring */
	u64 submitted; /* approximate: CPUs race on it */
};

BPF_RINGBUF_OUTPUT(events, RING_PAGES);
BPF_ARRAY(count, struct vt_count, 1);
BPF_ARRAY(lost_here, u64, VT_MAX_POINTS);
BPF_ARRAY(offsets, struct vt_offsets, 1);
BPF_ARRAY(known, u64, MAX_KNOWN);
BPF_HASH(calls, struct vt_key, struct vt_calls, MAX_THREADS);

#endif
