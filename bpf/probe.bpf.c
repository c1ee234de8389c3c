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
	u64 second;
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
	} else if (subject == VT_MODULE_STRUCT) {
		bpf_probe_read_kernel_str(e->name, sizeof(e->name), (void *)(arg + o->module_name));
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

/* After the reserve, so that the ring's order and the clock's agree. */
static __always_inline void describe(struct vt_event *e, u32 kind, u32 probe, u64 missed)
{
	e->ns = bpf_ktime_get_ns();
	e->lost = missed;
	e->kind = kind;
	e->probe = probe;
	e->cpu = bpf_get_smp_processor_id();
	e->tid = (u32)bpf_get_current_pid_tgid();
	bpf_get_current_comm(e->comm, sizeof(e->comm));
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
	describe(e, kind, probe, *missed);
	return e;
}

static __always_inline void push(u32 probe, u64 argument, u64 second)
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
	call->second = second;
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

static __always_inline u64 read_u64(u64 base, u32 offset)
{
	return read_pointer(base, offset);
}

/* What was agreed on so far: of an earlier binding, until this one's is written. */
static __always_inline void fill_features(struct vt_event *e, const struct vt_offsets *o, u64 vdev)
{
	if (!o->virtio_device_features)
		return;
	e->features[0] = read_u64(vdev, o->virtio_device_features);
	if (o->virtio_device_words > 1)
		e->features[1] = read_u64(vdev, o->virtio_device_features + 8);
	e->has |= VT_HAS_FEATURES;
}

static __always_inline void fill_entry(struct vt_event *e, const struct vt_offsets *o,
				       const struct vt_point *point, struct pt_regs *ctx)
{
	u64 vdev = PT_REGS_PARM1(ctx);
	u32 detail = point->detail;

	if (point->subject == VT_DEVICE)
		vdev -= o->virtio_device_dev;
	if (detail == VT_STATUS || detail == VT_RESET) {
		e->status = detail == VT_STATUS ? PT_REGS_PARM2(ctx) & 0xff : 0;
		e->has |= VT_HAS_STATUS;
		fill_features(e, o, vdev);
	} else if (detail == VT_COUNT) {
		e->count = (u32)PT_REGS_PARM2(ctx);
		e->has |= VT_HAS_COUNT;
	} else if (detail == VT_QUEUE || detail == VT_QUEUE_NO_VECTOR) {
		e->queue_index = (u32)PT_REGS_PARM2(ctx);
		bpf_probe_read_kernel_str(e->queue_name, sizeof(e->queue_name),
					  (void *)PT_REGS_PARM4(ctx));
		e->has |= VT_HAS_QUEUE;
		if (detail == VT_QUEUE) {
			e->vector = PT_REGS_PARM6(ctx) & 0xffff;
			e->has |= VT_HAS_VECTOR;
		}
	}
}

static __always_inline void fill_return(struct vt_event *e, const struct vt_offsets *o, u32 detail,
					const struct vt_call *call)
{
	u64 value = (u64)e->result;

	if (detail == VT_FEATURES) {
		e->features[0] = value;
		/* Since Linux 6.17 a transport may fill an array instead, and returns nothing. */
		if (o->config_extended &&
		    read_pointer(read_pointer(call->argument, o->virtio_device_config),
				 o->config_extended)) {
			e->features[0] = read_u64(call->second, 0);
			e->features[1] = read_u64(call->second, 8);
		}
		e->has |= VT_HAS_FEATURES;
	} else if ((detail == VT_QUEUE || detail == VT_QUEUE_NO_VECTOR) && o->queue_free &&
		   value && value < -4095ULL) {
		e->queue_index = read_u32(value, o->queue_index);
		e->queue_size = read_u32(value, o->queue_free);
		bpf_probe_read_kernel_str(e->queue_name, sizeof(e->queue_name),
					  (void *)read_pointer(value, o->queue_name));
		e->has |= VT_HAS_QUEUE | VT_HAS_SIZE;
	}
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
	if (point->returns)
		push(probe, first, PT_REGS_PARM2(ctx));
	if (point->quiet_entry)
		return 0;
	e = begin(VT_ENTRY, probe);
	if (!e)
		return 0;
	fill(e, o, point->subject, first);
	if (point->driver_second)
		fill_driver(e, o, PT_REGS_PARM2(ctx));
	if (point->detail)
		fill_entry(e, o, point, ctx);
	events.ringbuf_submit(e, 0);
	return 0;
}

/* Copies a driver's feature table; the mask is for the verifier. Returns the table's length. */
static __always_inline u32 copy_table(u32 *bits, u64 table, u32 length)
{
	bpf_probe_read_kernel(bits, (length & (VT_TABLE_LENGTH - 1)) * sizeof(u32), (void *)table);
	return length;
}

/* The driver's feature tables, at virtio_dev_probe: a record of another size. */
int vt_table(struct pt_regs *ctx)
{
	u32 zero = 0, probe = probe_number();
	struct vt_offsets *o = offsets.lookup(&zero);
	u64 *missed = lost.lookup(&zero);
	u64 vdev, driver, legacy;
	struct vt_table *t;

	if (!o || !missed || !o->driver_table)
		return 0;
	t = events.ringbuf_reserve(sizeof(*t));
	if (!t) {
		__sync_fetch_and_add(missed, 1);
		return 0;
	}
	__builtin_memset(t, 0, sizeof(*t));
	describe(&t->event, VT_ENTRY, probe, *missed);
	vdev = PT_REGS_PARM1(ctx) - o->virtio_device_dev;
	fill(&t->event, o, VT_VIRTIO_DEVICE, vdev);
	driver = read_pointer(vdev + o->virtio_device_dev, o->device_driver);
	t->length = copy_table(t->bits, read_pointer(driver, o->driver_table),
			       read_u32(driver, o->driver_table_size));
	legacy = read_pointer(driver, o->driver_legacy);
	t->has_legacy = !!legacy;
	t->legacy_length = copy_table(t->legacy_bits, legacy,
				      read_u32(driver, o->driver_legacy_size));
	t->event.has |= VT_HAS_TABLE;
	events.ringbuf_submit(t, 0);
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
		if (point->detail)
			fill_return(e, o, point->detail, &call);
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
