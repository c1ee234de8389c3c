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
#include "threads.h"
#include "identity.h"
#include "calls.h"
#include "detail.h"

#define VT_BUS_NAME 0x6f6974726976ULL /* "virtio", little-endian */

static __always_inline bool other_bus(const struct vt_offsets *o, u64 bus)
{
	u64 name = 0; /* one comparison: the verifier follows each */

	vt_read_str(&name, sizeof(name), (void *)read_u64(bus, o->bus_name));
	return name != VT_BUS_NAME;
}

static __always_inline bool about_virtio(u64 point)
{
	return subject(point) == VT_VIRTIO_DEVICE || subject(point) == VT_DEVICE;
}

static __always_inline bool about_device(u64 point)
{
	return about_virtio(point) || subject(point) == VT_PCI_DEV ||
	       subject(point) == VT_PLATFORM_DEVICE;
}

static __always_inline u64 read_driver(const struct vt_offsets *o, u64 vdev)
{
	return read_u64(vdev + o->virtio_device_dev, o->device_driver);
}

static __always_inline u64 driver_of(struct vt_regs *ctx, u64 point, const struct vt_offsets *o,
				     u64 first)
{
	u64 driver = shape(point) & VT_ARG2_DRIVER ? ARG2(ctx) : 0;

	if (subject(point) == VT_DRIVER)
		return first;
	return !driver && about_virtio(point) ? read_driver(o, first) : driver;
}

static __always_inline int entered(struct vt_regs *ctx, bool named)
{
	const struct vt_offsets *o = VT_VALUE(VT_MAP_OFFSETS);
	u64 point = probe_point(ctx), first = ARG1(ctx), stack = ctx->sp;
	u32 tid = (u32)vt_pid_tgid(), has;
	struct vt_thread *thread = thread_of(tid);
	u64 device, driver;
	struct vt_entered *e;
	bool known, virtio;

	if (!named && subject(point) == VT_DEVICE)
		first -= o->virtio_device_dev;
	if (!named && subject(point) == VT_BUS_TYPE && other_bus(o, first))
		return 0;
	if (!named && shape(point) & VT_SAVE_ARGS)
		push(point, tid, stack, first, ARG2(ctx));
	if (!named && shape(point) & VT_RETURN_ONLY)
		return 0;
	virtio = named ? subject(point) != VT_MODULE_STRUCT : about_virtio(point);
	device = virtio || (!named && about_device(point)) ? first : 0;
	if (virtio && !(shape(point) & (VT_REDESCRIBE | VT_ARG2_DRIVER | VT_BINDS)) &&
	    is_bound(thread, stack, device)) {
		driver = thread->driver; /* both have been described */
	} else {
		if (named)
			driver = virtio ? read_driver(o, first) : 0;
		else
			driver = driver_of(ctx, point, o, first);
		if (!introduce(point, o, device, driver, named)) {
			miss(point);
			return 0;
		}
	}
	if (named)
		e = (struct vt_entered *)RESERVE(struct vt_named);
	else
		e = RESERVE(struct vt_entered);
	if (!e) {
		miss(point);
		return 0;
	}
	known = inside(thread->open, stack);
	has = describe(&e->event, point, named ? VT_ENTRY_NAMED : VT_ENTRY, tid, stack, known);
	opened(thread, point, stack, known, device, driver);
	e->device = device;
	e->driver = driver;
	if (named)
		has |= fill_named((struct vt_named *)e, point, o, first, ctx);
	else
		has |= fill_entry(e, point, o, first, ctx);
	e->event.has = has;
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
	u64 point = probe_point(ctx), value = RESULT(ctx), stack = ctx->sp;
	u32 tid = (u32)vt_pid_tgid(), has;
	bool known = closed(thread_of(tid), point, stack);
	struct vt_returned *e = RESERVE(struct vt_returned);

	if (!e) {
		miss(point);
		return 0;
	}
	has = describe(&e->event, point, VT_RETURN, tid, stack, known);
	e->result = value;
	if ((detail(point) == VT_QUEUE || detail(point) == VT_QUEUE_NO_VECTOR) && value &&
	    value < -4095ULL) {
		const struct vt_offsets *o = VT_VALUE(VT_MAP_OFFSETS);

		if (o->queue_free) {
			e->queue_size = read_u32(value, o->queue_free);
			has |= VT_HAS_SIZE;
		}
	}
	e->event.has = has;
	submit(e);
	return 0;
}

/* A return that needs the arguments of its entry (VT_SAVE_ARGS). */
int vt_return_kept(struct vt_regs *ctx)
{
	const struct vt_offsets *o = VT_VALUE(VT_MAP_OFFSETS);
	u64 point = probe_point(ctx), stack = ctx->sp;
	u32 tid = (u32)vt_pid_tgid(), has;
	struct vt_thread *thread = thread_of(tid);
	struct vt_call *call = pop(point, tid, stack);
	u64 entered_ns = 0, device = 0, driver = 0, second = 0;
	struct vt_returned_kept *e;
	bool known;

	if (call) {
		entered_ns = call->ns;
		second = call->second;
		if (subject(point) == VT_VIRTIO_DEVICE)
			device = call->argument;
	} else if (subject(point) == VT_BUS_TYPE) {
		return 0; /* another bus, or it was entered before we were attached */
	}
	if (device && is_bound(thread, stack, device) && !(shape(point) & VT_REDESCRIBE)) {
		driver = thread->driver;
	} else if (device) {
		driver = read_driver(o, device);
		if (!introduce(point, o, device, driver, true)) {
			miss(point);
			return 0;
		}
	}
	known = closed(thread, point, stack);
	e = RESERVE(struct vt_returned_kept);
	if (!e) {
		miss(point);
		return 0;
	}
	has = describe(&e->returned.event, point, VT_RETURN_KEPT, tid, stack, known);
	e->returned.result = RESULT(ctx);
	e->entered_ns = entered_ns;
	e->device = device;
	e->driver = driver;
	if (device && detail(point) == VT_FEATURES) {
		fill_offered(e, o, device, second);
		has |= VT_HAS_FEATURES;
	}
	e->returned.event.has = has;
	submit(e);
	return 0;
}

/* Tracepoint module:module_load; the context is the trace entry as tracefs describes it. */
int vt_module_load(void *ctx)
{
	const struct vt_offsets *o = VT_VALUE(VT_MAP_OFFSETS);
	struct vt_module *m = RESERVE(struct vt_module);
	u32 where = 0;

	if (!m) {
		struct vt_count *count = VT_VALUE(VT_MAP_COUNT);

		__sync_fetch_and_add(&count->lost, 1);
		return 0;
	}
	m->event.has = describe(&m->event, 0, VT_MODULE, (u32)vt_pid_tgid(), 0, false);
	m->name[0] = 0;
	/* The mask is for the verifier: an offset into the context must be bounded. */
	vt_read(&where, sizeof(where), ctx + (o->module_load_name & 0xff));
	vt_read_str(m->name, sizeof(m->name), ctx + (where & 0xfff));
	submit(m);
	return 0;
}
