// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The BPF programs, one per kind of probe. shape.h says how a program knows which probe point it
 * serves.
 *
 * No header of BCC or the kernel, no CO-RE: structs are read with bpf_probe_read_kernel at offsets
 * that whoever loads the programs took from the kernel's BTF, and maps have numbers (maps.h). So
 * compiling needs no privilege and no kernel, and BCC and clang -target bpf both can.
 *
 * An event is short: it has the addresses of its device and of its driver, and identity.h describes
 * what is there. docs/decisions/0014 and 0015 say why.
 */
#include "types.h"
#include "helpers.h"
#include "regs.h"
#include "events.h"
#include "maps.h"
#include "shape.h"
#include "read.h"
#include "ring.h"
#include "identity.h"
#include "calls.h"
#include "detail.h"

static __always_inline bool other_bus(const struct vt_offsets *o, u64 bus)
{
	char name[8] = {};

	vt_read_str(name, sizeof(name), (void *)read_u64(bus, o->bus_name));
	return !(name[0] == 'v' && name[1] == 'i' && name[2] == 'r' && name[3] == 't' &&
		 name[4] == 'i' && name[5] == 'o' && name[6] == 0);
}

static __always_inline bool about_device(u64 point)
{
	return subject(point) == VT_VIRTIO_DEVICE || subject(point) == VT_DEVICE ||
	       subject(point) == VT_PCI_DEV || subject(point) == VT_PLATFORM_DEVICE;
}

static __always_inline u64 driver_of(struct vt_regs *ctx, u64 point, const struct vt_offsets *o,
				     u64 first)
{
	u64 driver = shape(point) & VT_ARG2_DRIVER ? ARG2(ctx) : 0;

	if (subject(point) == VT_DRIVER)
		return first;
	if (!driver && (subject(point) == VT_VIRTIO_DEVICE || subject(point) == VT_DEVICE))
		driver = read_u64(first + o->virtio_device_dev, o->device_driver);
	return driver;
}

static __always_inline int entered(struct vt_regs *ctx, bool named)
{
	const struct vt_offsets *o = VT_VALUE(VT_MAP_OFFSETS);
	u64 point = probe_point(ctx);
	u64 first = ARG1(ctx), device, driver;
	struct vt_event *e;

	if (subject(point) == VT_DEVICE)
		first -= o->virtio_device_dev;
	if (subject(point) == VT_BUS_TYPE && other_bus(o, first))
		return 0;
	if (shape(point) & VT_SAVE_ARGS)
		push(point, first, ARG2(ctx));
	if (shape(point) & VT_RETURN_ONLY)
		return 0;
	device = about_device(point) ? first : 0;
	driver = driver_of(ctx, point, o, first);
	if (!introduce(point, o, device, driver)) {
		miss(point);
		return 0;
	}
	e = begin(point, VT_ENTRY, ctx->sp, named);
	if (!e)
		return 0;
	e->device = device;
	e->driver = driver;
	fill_entry(e, point, o, first, ctx, named);
	submit(e);
	return 0;
}

int vt_entry(struct vt_regs *ctx)
{
	return entered(ctx, false);
}

/* The entry of a VT_NAMED point. The verifier must know a record's size without the shape. */
int vt_entry_named(struct vt_regs *ctx)
{
	return entered(ctx, true);
}

/* A return without arguments: user space takes the device and the driver from its entry. */
int vt_return(struct vt_regs *ctx)
{
	u64 point = probe_point(ctx), value = RESULT(ctx);
	struct vt_event *e = begin(point, VT_RETURN, ctx->sp, false);

	if (!e)
		return 0;
	e->result = value;
	if ((detail(point) == VT_QUEUE || detail(point) == VT_QUEUE_NO_VECTOR) && value &&
	    value < -4095ULL) {
		const struct vt_offsets *o = VT_VALUE(VT_MAP_OFFSETS);

		if (o->queue_free) {
			e->queue_size = read_u32(value, o->queue_free);
			e->has = VT_HAS_SIZE;
		}
	}
	submit(e);
	return 0;
}

/* A return that needs the arguments of its entry (VT_SAVE_ARGS). */
int vt_return_kept(struct vt_regs *ctx)
{
	const struct vt_offsets *o = VT_VALUE(VT_MAP_OFFSETS);
	u64 point = probe_point(ctx);
	struct vt_call call = {};
	bool entered, about;
	u64 driver = 0;
	struct vt_event *e;

	entered = pop(point, &call);
	if (!entered && subject(point) == VT_BUS_TYPE)
		return 0; /* another bus, or it was entered before we were attached */
	about = entered && subject(point) == VT_VIRTIO_DEVICE;
	if (about) {
		driver = read_u64(call.argument + o->virtio_device_dev, o->device_driver);
		if (!introduce(point, o, call.argument, driver)) {
			miss(point);
			return 0;
		}
	}
	e = begin(point, VT_RETURN, ctx->sp, false);
	if (!e)
		return 0;
	e->result = RESULT(ctx);
	if (entered)
		e->entered_ns = call.ns;
	if (about) {
		e->device = call.argument;
		e->driver = driver;
		if (detail(point) == VT_FEATURES)
			fill_offered(e, o, &call);
	}
	submit(e);
	return 0;
}

/* Tracepoint module:module_load; the context is the trace entry as tracefs describes it. */
int vt_module_load(void *ctx)
{
	const struct vt_offsets *o = VT_VALUE(VT_MAP_OFFSETS);
	struct vt_named *n = (struct vt_named *)begin(0, VT_MODULE, 0, true);
	u32 where = 0;

	if (!n)
		return 0;
	/* The mask is for the verifier: an offset into the context must be bounded. */
	vt_read(&where, sizeof(where), ctx + (o->module_load_name & 0xff));
	vt_read_str(n->name, sizeof(n->name), ctx + (where & 0xfff));
	submit(n);
	return 0;
}
