/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The arguments of open calls of VT_SAVE_ARGS functions. A thread has VT_MAX_DEPTH places, which it
 * shares with threads whose ids are equal modulo VT_MAX_THREADS. A hash map would cost ten times as
 * much.
 */
#ifndef VT_CALLS_H
#define VT_CALLS_H

#include "helpers.h"
#include "maps.h"
#include "shape.h"

static __always_inline struct vt_call *calls_of(u32 tid)
{
	struct vt_calls *calls = VT_VALUE(VT_MAP_CALLS);

	return &calls->at[(tid & (VT_MAX_THREADS - 1)) * VT_MAX_DEPTH];
}

static __always_inline u64 key_of(u64 point, u32 tid)
{
	return tid | (u64)probe_number(point) << 32;
}

/* If there is no place, the first is taken: the return of that call will have an unknown entry. */
static __always_inline void push(u64 point, u32 tid, u64 stack, u64 argument, u64 second)
{
	struct vt_call *calls = calls_of(tid), *call = calls;
	u64 key = key_of(point, tid);

#pragma unroll
	for (int n = 0; n < VT_MAX_DEPTH; n++) {
		/* A call entered here or below has returned, and that was not seen. */
		if (!calls[n].key || (calls[n].key == key && calls[n].stack <= stack)) {
			call = &calls[n];
			break;
		}
	}
	call->key = key;
	call->stack = stack;
	call->ns = vt_ktime_ns();
	call->argument = argument;
	call->second = second;
}

/* The call from which the thread returns, as long as no other is pushed; NULL: it is not known. */
static __always_inline struct vt_call *pop(u64 point, u32 tid, u64 stack)
{
	struct vt_call *calls = calls_of(tid);
	u64 key = key_of(point, tid);

#pragma unroll
	for (int n = 0; n < VT_MAX_DEPTH; n++) {
		/* On x86-64 a return has popped its address. */
		if (calls[n].key == key && stack - calls[n].stack <= 8) {
			calls[n].key = 0;
			return &calls[n];
		}
	}
	return NULL;
}

#endif
