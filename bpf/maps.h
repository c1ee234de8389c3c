/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The maps that all programs share. virtio_trace/tracer/bpf/wire.py has the same table, by which
 * whoever loads the programs creates them; tests/unit/tracer/bpf/test_wire.py compares the two.
 */
#ifndef VT_MAPS_H
#define VT_MAPS_H

#include "events.h"

#define VT_RING_BYTES (1 << 20) /* about 8,000 unread events; a power of two, whole pages */
#define VT_MAX_THREADS 1024	/* a power of two: slots for threads, by thread id */
#define VT_MAX_DEPTH 4		/* open calls in such a slot */
#define VT_MAX_KNOWN 1024	/* a power of two: slots for described devices and drivers */
#define VT_WAKE_EVERY 1024	/* a power of two: wake the recorder after this many events */

/* enum bpf_map_type (include/uapi/linux/bpf.h) */
#define VT_TYPE_ARRAY 2
#define VT_TYPE_RINGBUF 27

/*
 * MAP(number, name, type, bytes of a key, bytes of a value, entries). The arrays have one value, so
 * that the programs have its address and need no look-up.
 */
#define VT_MAPS(MAP)                                                        \
	MAP(1, EVENTS, VT_TYPE_RINGBUF, 0, 0, VT_RING_BYTES)                \
	MAP(2, COUNT, VT_TYPE_ARRAY, 4, sizeof(struct vt_count), 1)         \
	MAP(3, LOST_HERE, VT_TYPE_ARRAY, 4, sizeof(struct vt_lost_here), 1) \
	MAP(4, OFFSETS, VT_TYPE_ARRAY, 4, sizeof(struct vt_offsets), 1)     \
	MAP(5, KNOWN, VT_TYPE_ARRAY, 4, sizeof(struct vt_known), 1)         \
	MAP(6, CALLS, VT_TYPE_ARRAY, 4, sizeof(struct vt_calls), 1)         \
	MAP(7, THREADS, VT_TYPE_ARRAY, 4, sizeof(struct vt_threads), 1)

#define VT_NUMBER_OF(number, name, type, key, value, entries) VT_MAP_##name = number,
enum vt_map { VT_MAPS(VT_NUMBER_OF) };

/* Events without room in the ring, and all others. */
struct vt_count {
	__u64 lost;
	__u64 submitted; /* approximate: CPUs race on it */
};

/* Those without room by probe point. */
struct vt_lost_here {
	__u64 at[VT_MAX_POINTS];
};

/* The addresses of described devices and drivers, hashed (identity.h). */
struct vt_known {
	__u64 at[VT_MAX_KNOWN];
};

/* An open call of a VT_SAVE_ARGS function: its return needs the arguments. */
struct vt_call {
	__u64 stack; /* the stack pointer at entry; 0: a free place */
	__u64 probe;
	__u64 ns;
	__u64 argument;
	__u64 second;
};

struct vt_calls {
	struct vt_call at[VT_MAX_THREADS * VT_MAX_DEPTH];
};

/* What is known of a thread from its open calls (threads.h). */
struct vt_thread {
	__u64 open;    /* mark of its outermost open call: its comm has been sent */
	__u64 binding; /* mark of its innermost open call of a VT_BINDS function, whose device */
	__u64 device;  /* and driver are these */
	__u64 driver;
};

struct vt_threads {
	struct vt_thread at[VT_MAX_THREADS];
};

#endif
