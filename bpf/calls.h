/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The arguments of open calls, by thread and probe point, for VT_SAVE_ARGS functions. */
#ifndef VT_CALLS_H
#define VT_CALLS_H

#include "maps.h"
#include "shape.h"

static __always_inline void push(u64 argument, u64 second)
{
	struct vt_key key = {.tid = (u32)bpf_get_current_pid_tgid(), .probe = probe_number()};
	struct vt_calls none = {};
	struct vt_calls *stack = calls.lookup_or_try_init(&key, &none);
	struct vt_call *call;

	if (!stack)
		return; /* the return will report an unknown entry */
	call = &stack->at[stack->depth & (MAX_DEPTH - 1)];
	call->ns = bpf_ktime_get_ns();
	call->argument = argument;
	call->second = second;
	stack->depth++;
}

static __always_inline bool pop(struct vt_call *call)
{
	struct vt_key key = {.tid = (u32)bpf_get_current_pid_tgid(), .probe = probe_number()};
	struct vt_calls *stack = calls.lookup(&key);

	if (!stack || !stack->depth)
		return false;
	stack->depth--;
	*call = stack->at[stack->depth & (MAX_DEPTH - 1)];
	if (!stack->depth)
		calls.delete(&key);
	return true;
}

#endif
