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
static __always_inline u32 fill_features(struct vt_entered *e, const struct vt_offsets *o, u64 vdev)
{
	if (!o->virtio_device_features)
		return 0;
	e->features[0] = read_u64(vdev, o->virtio_device_features);
	e->features[1] = 0;
	if (o->virtio_device_words > 1)
		e->features[1] = read_u64(vdev, o->virtio_device_features + 8);
	return VT_HAS_FEATURES;
}

/* Fills in what an entry shows, and returns that part of `has`. FIRST is the first argument. */
static __always_inline u32 fill_entry(struct vt_entered *e, u64 point, const struct vt_offsets *o,
				      u64 first, struct vt_regs *ctx)
{
	if (detail(point) == VT_STATUS || detail(point) == VT_RESET) {
		e->status = detail(point) == VT_STATUS ? ARG2(ctx) & 0xff : 0;
		return VT_HAS_STATUS | fill_features(e, o, first);
	}
	if (detail(point) == VT_COUNT) {
		e->count = (u32)ARG2(ctx);
		return VT_HAS_COUNT;
	}
	return 0;
}

/* The same for a VT_NAMED point: a virtqueue or a module. */
static __always_inline u32 fill_named(struct vt_named *n, u64 point, const struct vt_offsets *o,
				      u64 first, struct vt_regs *ctx)
{
	bool module = subject(point) == VT_MODULE_STRUCT;

	n->name[0] = 0;
	vt_read_str(n->name, sizeof(n->name),
		    module ? (void *)(first + o->module_name) : (void *)ARG4(ctx));
	if (module)
		return 0;
	n->entered.queue_index = (u32)ARG2(ctx);
	if (detail(point) != VT_QUEUE)
		return VT_HAS_QUEUE;
	n->entered.vector = ARG6(ctx) & 0xffff;
	return VT_HAS_QUEUE | VT_HAS_VECTOR;
}

static __always_inline void fill_offered(struct vt_returned_kept *e, const struct vt_offsets *o,
					 u64 vdev, u64 array)
{
	e->features[0] = e->returned.result;
	e->features[1] = 0;
	/* Since Linux 6.17 a transport may fill an array instead and return nothing. */
	if (o->config_extended &&
	    read_u64(read_u64(vdev, o->virtio_device_config), o->config_extended)) {
		e->features[0] = read_u64(array, 0);
		e->features[1] = read_u64(array, 8);
	}
}

#endif
