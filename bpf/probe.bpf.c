// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What runs in the kernel. The loader loads a program once for every probe point that it serves,
 * with that point's number and shape in the place of a constant, as a BPF cookie would do it (which
 * BCC cannot set, and kernels before 5.15 do not have). The verifier knows the constant, and drops
 * what this point does not need.
 *
 * No kernel header, no CO-RE, no rewriting of dereferences: structs are read with
 * bpf_probe_read_kernel at offsets that the loader took from this kernel's BTF.
 *
 * An event is short: it has the addresses of its device and of its driver. Who they are is a record
 * of its own, put into the ring before the first event that has the address, and again where
 * that may have become another's; docs/decisions/0014 and 0015 say why.
 */
#include "events.h"

#define MAX_POINTS 128
#define MAX_THREADS 4096
#define MAX_DEPTH 4		/* a power of two: calls of one function inside itself */
#define MAX_KNOWN 1024		/* a power of two: devices and drivers that need no describing */
#define RING_PAGES 256		/* 1 MiB: some 8,000 events that nobody has read yet */
#define WAKE_EVERY 1024		/* a power of two: events; fewer are found when the recorder looks */

/* A call that has not returned, of a function whose return needs its arguments. */
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

struct vt_count {
	u64 lost;		/* events that found no room */
	u64 submitted;		/* roughly: CPUs count over each other */
};

BPF_RINGBUF_OUTPUT(events, RING_PAGES);
BPF_ARRAY(count, struct vt_count, 1);
BPF_ARRAY(lost_here, u64, MAX_POINTS);
BPF_ARRAY(offsets, struct vt_offsets, 1);
BPF_ARRAY(known, u64, MAX_KNOWN);
BPF_HASH(calls, struct vt_key, struct vt_calls, MAX_THREADS);

/* The loader finds this very constant in a program, and puts the probe point's own there. */
static __always_inline u64 probe_point(void)
{
	u64 point;

	asm volatile("%0 = 0x76742d70726f6265 ll" : "=r"(point));
	return point;
}

static __always_inline u32 probe_number(void)
{
	return (u32)probe_point();
}

static __always_inline u32 shape(void)
{
	return probe_point() >> 32;
}

static __always_inline u32 subject(void)
{
	return shape() & 15;
}

static __always_inline u32 detail(void)
{
	return shape() >> 4 & 15;
}

static __always_inline u64 read_u64(u64 base, u32 offset)
{
	u64 number = 0;

	bpf_probe_read_kernel(&number, sizeof(number), (void *)(base + offset));
	return number;
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

/* One event that is not in the ring; also where it was to be described and that found no room. */
static __always_inline void miss(struct vt_count *c)
{
	u32 probe = probe_number();
	u64 *here = lost_here.lookup(&probe);

	__sync_fetch_and_add(&c->lost, 1);
	if (here)
		__sync_fetch_and_add(here, 1);
}

/* After the reserve, so that the ring's order and the clock's agree. */
static __always_inline void describe(struct vt_event *e, struct vt_count *c, u32 kind, u64 stack)
{
	u32 probe = probe_number();

	__builtin_memset(e, 0, sizeof(*e));
	e->kind = kind;
	e->probe = probe;
	e->stack = stack;
	e->lost = c->lost;
	if (e->lost) {
		u64 *here = lost_here.lookup(&probe);

		if (here)
			e->lost_here = *here;
	}
	e->ns = bpf_ktime_get_ns();
	e->cpu = bpf_get_smp_processor_id();
	e->tid = (u32)bpf_get_current_pid_tgid();
	bpf_get_current_comm(e->comm, sizeof(e->comm));
}

/* NAMED: it is a struct vt_named. */
static __always_inline struct vt_event *begin(struct vt_count *c, u32 kind, u64 stack, bool named)
{
	struct vt_event *e;

	if (named)
		e = events.ringbuf_reserve(sizeof(struct vt_named));
	else
		e = events.ringbuf_reserve(sizeof(struct vt_event));
	if (!e) {
		miss(c);
		return NULL;
	}
	describe(e, c, kind, stack);
	if (named)
		((struct vt_named *)e)->name[0] = 0;
	return e;
}

/*
 * The recorder looks every tenth of a second. To wake it for each event would cost what it shows,
 * so it is only woken where events come faster than that.
 */
static __always_inline u64 wake(struct vt_count *c)
{
	return ++c->submitted & (WAKE_EVERY - 1) ? BPF_RB_NO_WAKEUP : BPF_RB_FORCE_WAKEUP;
}

/* Where an address is in known. A driver's is put there plus one, so that it is no device's. */
static __always_inline u64 *place_of(u64 address)
{
	u32 at = (address * 0x9e3779b97f4a7c15ULL) >> 54;

	return known.lookup(&at);
}

static __always_inline void fill_virtio(struct vt_device *d, const struct vt_offsets *o, u64 vdev)
{
	d->device = read_u32(vdev, o->virtio_device_id);
	d->vendor = read_u32(vdev, o->virtio_device_vendor);
	/* The transport fills id in before register_virtio_device; until then it is 0 (reserved). */
	if (d->device)
		d->has |= VT_HAS_ID;
	/* register_virtio_device gives the index and the name together. */
	if (read_u64(vdev + o->virtio_device_dev, o->device_name)) {
		d->index = read_u32(vdev, o->virtio_device_index);
		d->has |= VT_HAS_INDEX;
	}
}

/* The device's name on its own bus, and that bus: what stays the same from boot to boot. */
static __always_inline void fill_address(struct vt_device *d, const struct vt_offsets *o, u64 device)
{
	u64 bus = read_u64(device, o->device_bus);

	bpf_probe_read_kernel_str(d->address, sizeof(d->address),
				  (void *)read_u64(device, o->device_name));
	if (bus)
		bpf_probe_read_kernel_str(d->bus, sizeof(d->bus),
					  (void *)read_u64(bus, o->bus_name));
}

/*
 * Says who a device is, unless that is known. False: there was no room for it, and what is not
 * described must not be in an event. Known is only what will stay: not a struct pci_dev, nor
 * a virtio device that has no id or no index yet.
 */
static __always_inline bool introduce_device(const struct vt_offsets *o, u64 key, bool anew)
{
	u64 *place = place_of(key);
	u64 addressed = 0;
	struct vt_device *d;
	bool stays;

	if (!place)
		return false;
	if (*place == key && !anew)
		return true;
	d = events.ringbuf_reserve(sizeof(*d));
	if (!d) {
		*place = 0;
		return false;
	}
	__builtin_memset(d, 0, sizeof(*d));
	d->kind = VT_KNOWN_DEVICE;
	d->key = key;
	if (subject() == VT_PCI_DEV) {
		d->pci_vendor = read_u16(key, o->pci_dev_vendor);
		d->pci_device = read_u16(key, o->pci_dev_device);
		d->has = VT_HAS_PCI;
		addressed = key + o->pci_dev_dev;
	} else if (subject() == VT_PLATFORM_DEVICE) {
		addressed = key + o->platform_device_dev;
	} else {
		fill_virtio(d, o, key);
		/* its address is its parent's */
		addressed = read_u64(key + o->virtio_device_dev, o->device_parent);
	}
	if (addressed)
		fill_address(d, o, addressed);
	stays = d->has == (VT_HAS_ID | VT_HAS_INDEX);
	events.ringbuf_submit(d, BPF_RB_NO_WAKEUP);
	*place = stays ? key : 0;
	return true;
}

/* Copies a driver's feature table; the mask is for the verifier. Returns the table's length. */
static __always_inline u32 copy_table(u32 *bits, u64 table, u32 length)
{
	bpf_probe_read_kernel(bits, (length & (VT_TABLE_LENGTH - 1)) * sizeof(u32), (void *)table);
	return length;
}

static __always_inline void fill_tables(struct vt_driver *d, const struct vt_offsets *o)
{
	u64 legacy = read_u64(d->key, o->driver_legacy);

	d->length = copy_table(d->bits, read_u64(d->key, o->driver_table),
			       read_u32(d->key, o->driver_table_size));
	d->has_legacy = !!legacy;
	d->legacy_length = copy_table(d->legacy_bits, legacy,
				      read_u32(d->key, o->driver_legacy_size));
	d->has = VT_HAS_TABLE;
}

/* The same for a driver, which stays what it is until another is registered. */
static __always_inline bool introduce_driver(const struct vt_offsets *o, u64 key, bool anew)
{
	u64 *place = place_of(key);
	struct vt_driver *d;

	if (!place)
		return false;
	if (*place == key + 1 && !anew)
		return true;
	d = events.ringbuf_reserve(sizeof(*d));
	if (!d) {
		*place = 0;
		return false;
	}
	d->kind = VT_KNOWN_DRIVER;
	d->has = 0;	/* and then the tables are not read */
	d->key = key;
	d->name[0] = 0;
	bpf_probe_read_kernel_str(d->name, sizeof(d->name), (void *)read_u64(key, o->driver_name));
	if (o->driver_table)
		fill_tables(d, o);
	events.ringbuf_submit(d, BPF_RB_NO_WAKEUP);
	*place = key + 1;
	return true;
}

static __always_inline bool introduce(const struct vt_offsets *o, u64 device, u64 driver)
{
	bool anew = !!(shape() & VT_ANEW);

	return (!device || introduce_device(o, device, anew)) &&
	       (!driver || introduce_driver(o, driver, anew));
}

static __always_inline void push(u64 argument, u64 second)
{
	struct vt_key key = {.tid = (u32)bpf_get_current_pid_tgid(), .probe = probe_number()};
	struct vt_calls none = {};
	struct vt_calls *stack = calls.lookup_or_try_init(&key, &none);
	struct vt_call *call;

	if (!stack)
		return;		/* the return will say that its entry is unknown */
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

static __always_inline void fill_entry(struct vt_event *e, const struct vt_offsets *o, u64 first,
				       struct pt_regs *ctx)
{
	struct vt_named *n = (struct vt_named *)e;	/* of a VT_NAMED */

	if (detail() == VT_STATUS || detail() == VT_RESET) {
		e->status = detail() == VT_STATUS ? PT_REGS_PARM2(ctx) & 0xff : 0;
		e->has |= VT_HAS_STATUS;
		fill_features(e, o, first);
	} else if (detail() == VT_COUNT) {
		e->count = (u32)PT_REGS_PARM2(ctx);
		e->has |= VT_HAS_COUNT;
	} else if (detail() == VT_QUEUE || detail() == VT_QUEUE_NO_VECTOR) {
		e->queue_index = (u32)PT_REGS_PARM2(ctx);
		e->has |= VT_HAS_QUEUE;
		if (detail() == VT_QUEUE) {
			e->vector = PT_REGS_PARM6(ctx) & 0xffff;
			e->has |= VT_HAS_VECTOR;
		}
	}
	if (shape() & VT_NAMED)
		bpf_probe_read_kernel_str(n->name, sizeof(n->name),
					  subject() == VT_MODULE_STRUCT ?
						  (void *)(first + o->module_name) :
						  (void *)PT_REGS_PARM4(ctx));
}

static __always_inline bool other_bus(const struct vt_offsets *o, u64 bus)
{
	char name[8] = {};

	bpf_probe_read_kernel_str(name, sizeof(name), (void *)read_u64(bus, o->bus_name));
	return !(name[0] == 'v' && name[1] == 'i' && name[2] == 'r' && name[3] == 't' &&
		 name[4] == 'i' && name[5] == 'o' && name[6] == 0);
}

static __always_inline bool about_device(void)
{
	return subject() == VT_VIRTIO_DEVICE || subject() == VT_DEVICE ||
	       subject() == VT_PCI_DEV || subject() == VT_PLATFORM_DEVICE;
}

static __always_inline u64 driver_of(struct pt_regs *ctx, const struct vt_offsets *o, u64 first)
{
	u64 driver = shape() & VT_SECOND ? PT_REGS_PARM2(ctx) : 0;

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
	if (shape() & VT_KEEP)
		push(first, PT_REGS_PARM2(ctx));
	if (shape() & VT_QUIET)
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

/* A return; what it is about, its entry says. */
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

static __always_inline void fill_offered(struct vt_event *e, const struct vt_offsets *o,
					 const struct vt_call *call)
{
	e->features[0] = e->result;
	/* Since Linux 6.17 a transport may fill an array instead, and returns nothing. */
	if (o->config_extended &&
	    read_u64(read_u64(call->argument, o->virtio_device_config), o->config_extended)) {
		e->features[0] = read_u64(call->second, 0);
		e->features[1] = read_u64(call->second, 8);
	}
	e->has = VT_HAS_FEATURES;
}

/* A return that needs what was given to its entry. */
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
		return 0;	/* another bus, or one registered before we were there */
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

/* tracepoint module:module_load; the context is the trace entry as tracefs describes it. */
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
	/* The mask is for the verifier: a context may be moved by a bounded number only. */
	bpf_probe_read_kernel(&where, sizeof(where), ctx + (o->module_load_name & 0xff));
	bpf_probe_read_kernel_str(n->name, sizeof(n->name), ctx + (where & 0xfff));
	events.ringbuf_submit(n, wake(c));
	return 0;
}
