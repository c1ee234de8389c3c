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
#include "threads.h"

static __always_inline struct vt_call *calls_of(u32 tid)
{
	struct vt_calls *calls = VT_VALUE(VT_MAP_CALLS);

	return &calls->at[(tid & (VT_MAX_THREADS - 1)) * VT_MAX_DEPTH];
}

/* If there is no place, the first is taken: the return of that call will have an unknown entry. */
static __always_inline void push(u64 point, u32 tid, u64 stack, u64 argument, u64 second)
{
	struct vt_call *calls = calls_of(tid), *call = calls;

#pragma unroll
	for (int n = 0; n < VT_MAX_DEPTH; n++) {
		/* A call entered here or below has returned, and that was not seen. */
		if (!calls[n].stack ||
		    (calls[n].probe == probe_number(point) && inside(stack, calls[n].stack))) {
			call = &calls[n];
			break;
		}
	}
	call->stack = stack;
	call->probe = probe_number(point);
	call->ns = vt_ktime_ns();
	call->argument = argument;
	call->second = second;
}

/* The call from which the thread returns, valid until the next push; NULL: it is not known. */
static __always_inline struct vt_call *pop(u64 point, u32 tid, u64 stack)
{
	struct vt_call *calls = calls_of(tid);

#pragma unroll
	for (int n = 0; n < VT_MAX_DEPTH; n++) {
		if (returns_from(calls[n].stack, stack) && calls[n].probe == probe_number(point)) {
			calls[n].stack = 0;
			return &calls[n];
		}
	}
	return NULL;
}

#endif
