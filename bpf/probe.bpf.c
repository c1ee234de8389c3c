// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What runs in the kernel. One program for every function's entry and one for every return; the
 * loader loads each once for every probe point, with that point's number in PROBE_NUMBER's place,
 * as a BPF cookie would do it (which BCC cannot set, and kernels before 5.15 do not have).
 *
 * No kernel header, no CO-RE, no rewriting of dereferences: structs are read with
 * bpf_probe_read_kernel at offsets that the loader took from this kernel's BTF.
 */
#include "events.h"

#define MAX_POINTS 128
#define MAX_THREADS 4096
#define MAX_DEPTH 4		/* a power of two: calls of one function inside itself */
#define RING_PAGES 256		/* 1 MiB: some 4,000 events that nobody has read yet */

/* A call that has not returned. */
struct vt_call {
	u64 ns;
	u64 argument;
};

struct vt_key {
	u32 tid;
	u32 probe;
};

struct vt_calls {
	u32 depth;
	u32 unused;
	struct vt_call at[MAX_DEPTH];
};

BPF_RINGBUF_OUTPUT(events, RING_PAGES);
BPF_ARRAY(lost, u64, 1);
BPF_ARRAY(offsets, struct vt_offsets, 1);
BPF_ARRAY(points, struct vt_point, MAX_POINTS);
BPF_HASH(calls, struct vt_key, struct vt_calls, MAX_THREADS);

/* The loader finds this very constant in the program and puts the probe point's number there. */
static __always_inline u32 probe_number(void)
{
	u64 number;

	asm volatile("%0 = 0x76742d70726f6265 ll" : "=r"(number));
	return (u32)number;
}

static __always_inline u64 read_pointer(u64 base, u32 offset)
{
	u64 pointer = 0;

	bpf_probe_read_kernel(&pointer, sizeof(pointer), (void *)(base + offset));
	return pointer;
}

static __always_inline u32 read_u32(u64 base, u32 offset)
{
	u32 number = 0;

	bpf_probe_read_kernel(&number, sizeof(number), (void *)(base + offset));
	return number;
}

static __always_inline u32 read_u16(u64 base, u32 offset)
{
	u16 number = 0;

	bpf_probe_read_kernel(&number, sizeof(number), (void *)(base + offset));
	return number;
}

/* The device's name on its own bus, and that bus: what stays the same from boot to boot. */
static __always_inline void fill_address(struct vt_event *e, const struct vt_offsets *o, u64 device)
{
	u64 bus = read_pointer(device, o->device_bus);

	bpf_probe_read_kernel_str(e->address, sizeof(e->address),
				  (void *)read_pointer(device, o->device_name));
	if (bus)
		bpf_probe_read_kernel_str(e->bus, sizeof(e->bus),
					  (void *)read_pointer(bus, o->bus_name));
}

static __always_inline void fill_driver(struct vt_event *e, const struct vt_offsets *o, u64 driver)
{
	if (driver)
		bpf_probe_read_kernel_str(e->name, sizeof(e->name),
					  (void *)read_pointer(driver, o->driver_name));
}

/* Returns the device whose address is the virtio device's: its parent. */
static __always_inline u64 fill_virtio(struct vt_event *e, const struct vt_offsets *o, u64 vdev)
{
	u64 device = vdev + o->virtio_device_dev;

	e->device = read_u32(vdev, o->virtio_device_id);
	e->vendor = read_u32(vdev, o->virtio_device_vendor);
	/* The transport fills id in before register_virtio_device; until then it is 0 (reserved). */
	if (e->device)
		e->has |= VT_HAS_ID;
	/* register_virtio_device gives the index and the name together. */
	if (read_pointer(device, o->device_name)) {
		e->index = read_u32(vdev, o->virtio_device_index);
		e->has |= VT_HAS_INDEX;
	}
	fill_driver(e, o, read_pointer(device, o->device_driver));
	return read_pointer(device, o->device_parent);
}

/* Written so that the compiler meets each of the helpers above once: it inlines them all. */
static __always_inline void fill(struct vt_event *e, const struct vt_offsets *o, u32 subject, u64 arg)
{
	u64 addressed = 0;

	if (subject == VT_DEVICE)
		arg -= o->virtio_device_dev;
	if (subject == VT_VIRTIO_DEVICE || subject == VT_DEVICE) {
		addressed = fill_virtio(e, o, arg);
	} else if (subject == VT_PCI_DEV) {
		e->pci_vendor = read_u16(arg, o->pci_dev_vendor);
		e->pci_device = read_u16(arg, o->pci_dev_device);
		e->has |= VT_HAS_PCI;
		addressed = arg + o->pci_dev_dev;
	} else if (subject == VT_PLATFORM_DEVICE) {
		addressed = arg + o->platform_device_dev;
	} else if (subject == VT_BUS_TYPE) {
		bpf_probe_read_kernel_str(e->name, sizeof(e->name),
					  (void *)read_pointer(arg, o->bus_name));
	} else if (subject == VT_DRIVER) {
		fill_driver(e, o, arg);
	}
	if (addressed)
		fill_address(e, o, addressed);
}

static __always_inline bool other_bus(const struct vt_point *point, const struct vt_offsets *o, u64 arg)
{
	char name[8] = {};

	if (point->subject != VT_BUS_TYPE)
		return false;
	bpf_probe_read_kernel_str(name, sizeof(name), (void *)read_pointer(arg, o->bus_name));
	return !(name[0] == 'v' && name[1] == 'i' && name[2] == 'r' && name[3] == 't' &&
		 name[4] == 'i' && name[5] == 'o' && name[6] == 0);
}

static __always_inline struct vt_event *begin(u32 kind, u32 probe)
{
	u32 zero = 0;
	u64 *missed = lost.lookup(&zero);
	struct vt_event *e;

	if (!missed)
		return NULL;
	e = events.ringbuf_reserve(sizeof(*e));
	if (!e) {
		__sync_fetch_and_add(missed, 1);
		return NULL;
	}
	__builtin_memset(e, 0, sizeof(*e));
	/* After the reserve, so that the ring's order and the clock's agree. */
	e->ns = bpf_ktime_get_ns();
	e->lost = *missed;
	e->kind = kind;
	e->probe = probe;
	e->cpu = bpf_get_smp_processor_id();
	e->tid = (u32)bpf_get_current_pid_tgid();
	bpf_get_current_comm(e->comm, sizeof(e->comm));
	return e;
}

static __always_inline void push(u32 probe, u64 argument)
{
	struct vt_key key = {.tid = (u32)bpf_get_current_pid_tgid(), .probe = probe};
	struct vt_calls none = {};
	struct vt_calls *stack = calls.lookup_or_try_init(&key, &none);
	struct vt_call *call;

	if (!stack)
		return;		/* the return will say that its duration is unknown */
	call = &stack->at[stack->depth & (MAX_DEPTH - 1)];
	call->ns = bpf_ktime_get_ns();
	call->argument = argument;
	stack->depth++;
}

static __always_inline bool pop(u32 probe, struct vt_call *call)
{
	struct vt_key key = {.tid = (u32)bpf_get_current_pid_tgid(), .probe = probe};
	struct vt_calls *stack = calls.lookup(&key);

	if (!stack || !stack->depth)
		return false;
	stack->depth--;
	*call = stack->at[stack->depth & (MAX_DEPTH - 1)];
	if (!stack->depth)
		calls.delete(&key);
	return true;
}

int vt_entry(struct pt_regs *ctx)
{
	u32 zero = 0, probe = probe_number();
	u64 first = PT_REGS_PARM1(ctx);
	struct vt_offsets *o = offsets.lookup(&zero);
	struct vt_point *point = points.lookup(&probe);
	struct vt_event *e;

	if (!o || !point || other_bus(point, o, first))
		return 0;
	push(probe, first);
	e = begin(VT_ENTRY, probe);
	if (!e)
		return 0;
	fill(e, o, point->subject, first);
	if (point->driver_second)
		fill_driver(e, o, PT_REGS_PARM2(ctx));
	events.ringbuf_submit(e, 0);
	return 0;
}

int vt_return(struct pt_regs *ctx)
{
	u32 zero = 0, probe = probe_number();
	struct vt_offsets *o = offsets.lookup(&zero);
	struct vt_point *point = points.lookup(&probe);
	struct vt_call call = {};
	struct vt_event *e;
	bool entered;

	if (!o || !point)
		return 0;
	entered = pop(probe, &call);
	if (!entered && point->subject == VT_BUS_TYPE)
		return 0;	/* another bus, or one registered before we were there */
	e = begin(VT_RETURN, probe);
	if (!e)
		return 0;
	e->result = PT_REGS_RC(ctx);
	if (entered) {
		e->duration_ns = e->ns - call.ns;
		e->has |= VT_HAS_DURATION;
		if (point->reread)
			fill(e, o, VT_VIRTIO_DEVICE, call.argument);
	}
	events.ringbuf_submit(e, 0);
	return 0;
}

/* tracepoint module:module_load; the context is the trace entry as tracefs describes it. */
int vt_module_load(void *ctx)
{
	u32 zero = 0, where = 0;
	struct vt_offsets *o = offsets.lookup(&zero);
	struct vt_event *e;

	if (!o)
		return 0;
	e = begin(VT_MODULE, 0);
	if (!e)
		return 0;
	/* The mask is for the verifier: a context may be moved by a bounded number only. */
	bpf_probe_read_kernel(&where, sizeof(where), ctx + (o->module_load_name & 0xff));
	bpf_probe_read_kernel_str(e->name, sizeof(e->name), ctx + (where & 0xfff));
	events.ringbuf_submit(e, 0);
	return 0;
}
