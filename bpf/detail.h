/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a probe point shows besides its device and driver (enum vt_detail). */
#ifndef VT_DETAIL_H
#define VT_DETAIL_H

#include "helpers.h"
#include "maps.h"
#include "read.h"
#include "regs.h"
#include "shape.h"

/* The negotiated features: those of the previous binding until this one writes its own. */
static __always_inline void fill_features(struct vt_event *e, const struct vt_offsets *o, u64 vdev)
{
	if (!o->virtio_device_features)
		return;
	e->features[0] = read_u64(vdev, o->virtio_device_features);
	if (o->virtio_device_words > 1)
		e->features[1] = read_u64(vdev, o->virtio_device_features + 8);
	e->has |= VT_HAS_FEATURES;
}

static __always_inline void fill_entry(struct vt_event *e, u64 point, const struct vt_offsets *o,
				       u64 first, struct vt_regs *ctx, bool named)
{
	struct vt_named *n = (struct vt_named *)e; /* only if NAMED */

	if (detail(point) == VT_STATUS || detail(point) == VT_RESET) {
		e->status = detail(point) == VT_STATUS ? ARG2(ctx) & 0xff : 0;
		e->has |= VT_HAS_STATUS;
		fill_features(e, o, first);
	} else if (detail(point) == VT_COUNT) {
		e->count = (u32)ARG2(ctx);
		e->has |= VT_HAS_COUNT;
	} else if (detail(point) == VT_QUEUE || detail(point) == VT_QUEUE_NO_VECTOR) {
		e->queue_index = (u32)ARG2(ctx);
		e->has |= VT_HAS_QUEUE;
		if (detail(point) == VT_QUEUE) {
			e->vector = ARG6(ctx) & 0xffff;
			e->has |= VT_HAS_VECTOR;
		}
	}
	if (named)
		vt_read_str(n->name, sizeof(n->name),
			    subject(point) == VT_MODULE_STRUCT ? (void *)(first + o->module_name)
							       : (void *)ARG4(ctx));
}

static __always_inline void fill_offered(struct vt_event *e, const struct vt_offsets *o,
					 const struct vt_call *call)
{
	e->features[0] = e->result;
	/* Since Linux 6.17 a transport may fill an array instead and return nothing. */
	if (o->config_extended &&
	    read_u64(read_u64(call->argument, o->virtio_device_config), o->config_extended)) {
		e->features[0] = read_u64(call->second, 0);
		e->features[1] = read_u64(call->second, 8);
	}
	e->has = VT_HAS_FEATURES;
}

#endif
