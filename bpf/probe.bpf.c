// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The BPF programs, one per kind of probe. The loader loads a program once for every probe point it
 * serves and writes that point's number and shape in the place of a constant. A BPF cookie would do
 * the same, but BCC cannot set one and kernels before 5.15 have none. The verifier knows the
 * constant and removes the code that the point does not need.
 *
 * No kernel headers, no CO-RE, no rewriting of dereferences: structs are read with
 * bpf_probe_read_kernel at offsets that the loader took from this kernel's BTF.
 *
 * An event is short: it has the addresses of its device and of its driver, and identity.h describes
 * what is there. docs/decisions/0014 and 0015 say why.
 *
 * The loader puts the headers below into this text, because BCC rewrites calls on maps only in its
 * main file; elsewhere they compile to something that the verifier refuses.
 */
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

	bpf_probe_read_kernel_str(name, sizeof(name), (void *)read_u64(bus, o->bus_name));
	return !(name[0] == 'v' && name[1] == 'i' && name[2] == 'r' && name[3] == 't' &&
		 name[4] == 'i' && name[5] == 'o' && name[6] == 0);
}

static __always_inline bool about_device(void)
{
	return subject() == VT_VIRTIO_DEVICE || subject() == VT_DEVICE || subject() == VT_PCI_DEV ||
	       subject() == VT_PLATFORM_DEVICE;
}

static __always_inline u64 driver_of(struct pt_regs *ctx, const struct vt_offsets *o, u64 first)
{
	u64 driver = shape() & VT_ARG2_DRIVER ? PT_REGS_PARM2(ctx) : 0;

	if (subject() == VT_DRIVER)
		return first;
	if (!driver && (subject() == VT_VIRTIO_DEVICE || subject() == VT_DEVICE))
		driver = read_u64(first + o->virtio_device_dev, o->device_driver);
	return driver;
}

int vt_entry(struct pt_regs *ctx)
{
	u32 zero = 0;
	struct vt_offsets *o = offsets.lookup(&zero);
	struct vt_count *c = count.lookup(&zero);
	u64 first, device, driver;
	struct vt_event *e;

	if (!o || !c)
		return 0;
	first = PT_REGS_PARM1(ctx);
	if (subject() == VT_DEVICE)
		first -= o->virtio_device_dev;
	if (subject() == VT_BUS_TYPE && other_bus(o, first))
		return 0;
	if (shape() & VT_SAVE_ARGS)
		push(first, PT_REGS_PARM2(ctx));
	if (shape() & VT_RETURN_ONLY)
		return 0;
	device = about_device() ? first : 0;
	driver = driver_of(ctx, o, first);
	if (!introduce(o, device, driver)) {
		miss(c);
		return 0;
	}
	e = begin(c, VT_ENTRY, PT_REGS_SP(ctx), !!(shape() & VT_NAMED));
	if (!e)
		return 0;
	e->device = device;
	e->driver = driver;
	fill_entry(e, o, first, ctx);
	events.ringbuf_submit(e, wake(c));
	return 0;
}

/* A return without arguments: user space takes the device and the driver from its entry. */
int vt_return(struct pt_regs *ctx)
{
	u32 zero = 0;
	struct vt_count *c = count.lookup(&zero);
	u64 value = PT_REGS_RC(ctx);
	struct vt_event *e;

	if (!c)
		return 0;
	e = begin(c, VT_RETURN, PT_REGS_SP(ctx), false);
	if (!e)
		return 0;
	e->result = value;
	if ((detail() == VT_QUEUE || detail() == VT_QUEUE_NO_VECTOR) && value && value < -4095ULL) {
		struct vt_offsets *o = offsets.lookup(&zero);

		if (o && o->queue_free) {
			e->queue_size = read_u32(value, o->queue_free);
			e->has = VT_HAS_SIZE;
		}
	}
	events.ringbuf_submit(e, wake(c));
	return 0;
}

/* A return that needs the arguments of its entry (VT_SAVE_ARGS). */
int vt_return_kept(struct pt_regs *ctx)
{
	u32 zero = 0;
	struct vt_offsets *o = offsets.lookup(&zero);
	struct vt_count *c = count.lookup(&zero);
	struct vt_call call = {};
	bool entered, about;
	u64 driver = 0;
	struct vt_event *e;

	if (!o || !c)
		return 0;
	entered = pop(&call);
	if (!entered && subject() == VT_BUS_TYPE)
		return 0; /* another bus, or it was entered before we were attached */
	about = entered && subject() == VT_VIRTIO_DEVICE;
	if (about) {
		driver = read_u64(call.argument + o->virtio_device_dev, o->device_driver);
		if (!introduce(o, call.argument, driver)) {
			miss(c);
			return 0;
		}
	}
	e = begin(c, VT_RETURN, PT_REGS_SP(ctx), false);
	if (!e)
		return 0;
	e->result = PT_REGS_RC(ctx);
	if (entered)
		e->entered_ns = call.ns;
	if (about) {
		e->device = call.argument;
		e->driver = driver;
		if (detail() == VT_FEATURES)
			fill_offered(e, o, &call);
	}
	events.ringbuf_submit(e, wake(c));
	return 0;
}

/* Tracepoint module:module_load; the context is the trace entry as tracefs describes it. */
int vt_module_load(void *ctx)
{
	u32 zero = 0, where = 0;
	struct vt_offsets *o = offsets.lookup(&zero);
	struct vt_count *c = count.lookup(&zero);
	struct vt_named *n;

	if (!o || !c)
		return 0;
	n = (struct vt_named *)begin(c, VT_MODULE, 0, true);
	if (!n)
		return 0;
	n->event.probe = 0;
	/* The mask is for the verifier: an offset into the context must be bounded. */
	bpf_probe_read_kernel(&where, sizeof(where), ctx + (o->module_load_name & 0xff));
	bpf_probe_read_kernel_str(n->name, sizeof(n->name), ctx + (where & 0xfff));
	events.ringbuf_submit(n, wake(c));
	return 0;
}
