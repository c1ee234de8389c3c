/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The arguments of open calls, by thread and probe point, for VT_SAVE_ARGS functions. */
#ifndef VT_CALLS_H
#define VT_CALLS_H

#include "helpers.h"
#include "maps.h"
#include "shape.h"

static __always_inline void push(u64 point, u64 argument, u64 second)
{
	struct vt_key key = {.tid = (u32)vt_pid_tgid(), .probe = probe_number(point)};
	struct vt_calls *stack = vt_map_lookup(VT_MAP(VT_MAP_CALLS), &key);
	struct vt_call *call;

	if (!stack) {
		struct vt_calls none = {};

		vt_map_update(VT_MAP(VT_MAP_CALLS), &key, &none, VT_BPF_NOEXIST);
		stack = vt_map_lookup(VT_MAP(VT_MAP_CALLS), &key);
		if (!stack)
			return; /* the return will report an unknown entry */
	}
	call = &stack->at[stack->depth & (VT_MAX_DEPTH - 1)];
	call->ns = vt_ktime_ns();
	call->argument = argument;
	call->second = second;
	stack->depth++;
}

static __always_inline bool pop(u64 point, struct vt_call *call)
{
	struct vt_key key = {.tid = (u32)vt_pid_tgid(), .probe = probe_number(point)};
	struct vt_calls *stack = vt_map_lookup(VT_MAP(VT_MAP_CALLS), &key);

	if (!stack || !stack->depth)
		return false;
	stack->depth--;
	*call = stack->at[stack->depth & (VT_MAX_DEPTH - 1)];
	if (!stack->depth)
		vt_map_delete(VT_MAP(VT_MAP_CALLS), &key);
	return true;
}

#endif
