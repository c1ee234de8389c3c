/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Descriptions of devices and drivers: records of their own, put into the ring before the first
 * event that has the address. The map "known" tells which addresses have been described.
 */
#ifndef VT_IDENTITY_H
#define VT_IDENTITY_H

#include "helpers.h"
#include "maps.h"
#include "read.h"
#include "shape.h"

/* The slot of an address in known. A driver's address is stored plus one: it is not a device's. */
static __always_inline u64 *place_of(u64 address)
{
	struct vt_known *known = VT_VALUE(VT_MAP_KNOWN);

	return &known->at[(address * 0x9e3779b97f4a7c15ULL) >> 54 & (VT_MAX_KNOWN - 1)];
}

static __always_inline void fill_virtio(struct vt_device *d, const struct vt_offsets *o, u64 vdev)
{
	d->device = read_u32(vdev, o->virtio_device_id);
	d->vendor = read_u32(vdev, o->virtio_device_vendor);
	/* The transport sets id before it calls register_virtio_device; until then it is 0 (reserved). */
	if (d->device)
		d->has |= VT_HAS_ID;
	/* register_virtio_device sets the index and the name together. */
	if (read_u64(vdev + o->virtio_device_dev, o->device_name)) {
		d->index = read_u32(vdev, o->virtio_device_index);
		d->has |= VT_HAS_INDEX;
	}
}

/* The device's name on its own bus, and that bus: both are the same on every boot. */
static __always_inline void fill_address(struct vt_device *d, const struct vt_offsets *o,
					 u64 device)
{
	u64 bus = read_u64(device, o->device_bus);

	vt_read_str(d->address, sizeof(d->address), (void *)read_u64(device, o->device_name));
	if (bus)
		vt_read_str(d->bus, sizeof(d->bus), (void *)read_u64(bus, o->bus_name));
}

/*
 * Describes a device, unless it is known; REDESCRIBE: even then. False: there was no room, and no
 * event may refer to the device. Only a virtio device with an id and an index becomes known, as
 * neither changes any more; a struct pci_dev is described each time. VIRTIO, a constant: the point is
 * about a virtio device, which spares the verifier the rest.
 */
static __always_inline bool introduce_device(u64 point, const struct vt_offsets *o, u64 key,
					     bool redescribe, bool virtio)
{
	u64 *place = place_of(key);
	u64 addressed = 0;
	struct vt_device *d;
	bool stays;

	if (*place == key && !redescribe)
		return true;
	d = vt_ringbuf_reserve(VT_MAP(VT_MAP_EVENTS), sizeof(*d), 0);
	if (!d) {
		*place = 0;
		return false;
	}
	__builtin_memset(d, 0, sizeof(*d));
	d->kind = VT_KNOWN_DEVICE;
	d->key = key;
	if (!virtio && subject(point) == VT_PCI_DEV) {
		d->pci_vendor = read_u16(key, o->pci_dev_vendor);
		d->pci_device = read_u16(key, o->pci_dev_device);
		d->has = VT_HAS_PCI;
		addressed = key + o->pci_dev_dev;
	} else if (!virtio && subject(point) == VT_PLATFORM_DEVICE) {
		addressed = key + o->platform_device_dev;
	} else {
		fill_virtio(d, o, key);
		/* a virtio device has the address of its parent */
		addressed = read_u64(key + o->virtio_device_dev, o->device_parent);
	}
	if (addressed)
		fill_address(d, o, addressed);
	stays = d->has == (VT_HAS_ID | VT_HAS_INDEX);
	vt_ringbuf_submit(d, VT_BPF_RB_NO_WAKEUP);
	*place = stays ? key : 0;
	return true;
}

/* Copies a feature table and returns its LENGTH. The mask bounds the size for the verifier. */
static __always_inline u32 copy_table(u32 *bits, u64 table, u32 length)
{
	vt_read(bits, (length & (VT_TABLE_LENGTH - 1)) * sizeof(u32), (void *)table);
	return length;
}

static __always_inline void fill_tables(struct vt_driver *d, const struct vt_offsets *o)
{
	u64 legacy = read_u64(d->key, o->driver_legacy);

	d->length = copy_table(d->bits, read_u64(d->key, o->driver_table),
			       read_u32(d->key, o->driver_table_size));
	d->has_legacy = !!legacy;
	d->legacy_length =
		copy_table(d->legacy_bits, legacy, read_u32(d->key, o->driver_legacy_size));
	d->has = VT_HAS_TABLE;
}

/* The same for a driver. It does not change until another is registered at its address. */
static __always_inline bool introduce_driver(const struct vt_offsets *o, u64 key, bool redescribe)
{
	u64 *place = place_of(key);
	struct vt_driver *d;

	if (*place == key + 1 && !redescribe)
		return true;
	d = vt_ringbuf_reserve(VT_MAP(VT_MAP_EVENTS), sizeof(*d), 0);
	if (!d) {
		*place = 0;
		return false;
	}
	d->kind = VT_KNOWN_DRIVER;
	d->has = 0; /* then the tables are not valid, and are not cleared */
	d->key = key;
	d->name[0] = 0;
	vt_read_str(d->name, sizeof(d->name), (void *)read_u64(key, o->driver_name));
	if (o->driver_table)
		fill_tables(d, o);
	vt_ringbuf_submit(d, VT_BPF_RB_NO_WAKEUP);
	*place = key + 1;
	return true;
}

static __always_inline bool introduce(u64 point, const struct vt_offsets *o, u64 device, u64 driver,
				      bool virtio)
{
	bool redescribe = !!(shape(point) & VT_REDESCRIBE);

	return (!device || introduce_device(point, o, device, redescribe, virtio)) &&
	       (!driver || introduce_driver(o, driver, redescribe));
}

#endif
