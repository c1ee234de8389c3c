/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The wire contract between bpf/probe.bpf.c and virtio_trace/tracer/wire.py: fixed-width
 * integers, each with its unit, no implicit padding. tests/unit/test_wire.py holds the ctypes
 * mirror to what a compiler makes of this file.
 */
#ifndef VT_EVENTS_H
#define VT_EVENTS_H

enum vt_kind {
	VT_ENTRY = 1,		/* a probed function was entered */
	VT_RETURN = 2,		/* it returned */
	VT_MODULE = 3,		/* module:module_load: linked and relocated, its init not yet called */
};

/* What an argument of a probed function points to. */
enum vt_subject {
	VT_NOTHING = 0,
	VT_PCI_DEV = 1,		/* struct pci_dev */
	VT_PLATFORM_DEVICE = 2,	/* struct platform_device */
	VT_VIRTIO_DEVICE = 3,	/* struct virtio_device, or what begins with one */
	VT_DEVICE = 4,		/* struct device inside a struct virtio_device */
	VT_DRIVER = 5,		/* struct device_driver, or struct virtio_driver, which begins with one */
	VT_BUS_TYPE = 6,	/* struct bus_type; only the one named "virtio" makes an event */
	VT_MODULE_STRUCT = 7,	/* struct module */
};

/* What a probe point shows besides its device and driver. */
enum vt_detail {
	VT_PLAIN = 0,		/* nothing */
	VT_STATUS = 1,		/* entry: the second argument is the device status that is written */
	VT_RESET = 2,		/* entry: status 0 is written */
	VT_FEATURES = 3,	/* return: the features that the device offers */
	VT_TABLE = 4,		/* entry: the features that the device's driver has in its tables */
	VT_COUNT = 5,		/* entry: the second argument is a number of virtqueues */
	VT_QUEUE = 6,		/* entry: a virtqueue's index, name and vector; return: its size */
	VT_QUEUE_NO_VECTOR = 7,	/* the same, of a transport without a vector for each queue */
};

/* Which fields of an event are known. */
enum vt_has {
	VT_HAS_DURATION = 1,	/* duration_ns: the entry was seen */
	VT_HAS_ID = 2,		/* device, vendor */
	VT_HAS_INDEX = 4,	/* index: virtioN has its N */
	VT_HAS_PCI = 8,		/* pci_vendor, pci_device */
	VT_HAS_STATUS = 16,	/* status */
	VT_HAS_FEATURES = 32,	/* features */
	VT_HAS_TABLE = 64,	/* this is a struct vt_table */
	VT_HAS_COUNT = 128,	/* count */
	VT_HAS_QUEUE = 256,	/* queue_index, queue_name */
	VT_HAS_SIZE = 512,	/* queue_size */
	VT_HAS_VECTOR = 1024,	/* vector */
};

struct vt_event {
	__u64 ns;		/* CLOCK_MONOTONIC, nanoseconds since boot */
	__u64 duration_ns;	/* VT_RETURN: nanoseconds since the entry */
	__u64 lost;		/* events that found no room before this one */
	__s64 result;		/* VT_RETURN: the return register */
	__u64 features[2];	/* bits 0 to 63, 64 to 127 */
	__u32 kind;		/* enum vt_kind */
	__u32 probe;		/* number of the probe point; VT_MODULE: 0 */
	__u32 cpu;
	__u32 tid;		/* thread id in the initial PID namespace */
	__u32 has;		/* enum vt_has */
	__u32 index;		/* struct virtio_device.index */
	__u32 device;		/* struct virtio_device_id.device */
	__u32 vendor;		/* struct virtio_device_id.vendor */
	__u32 pci_vendor;	/* struct pci_dev.vendor */
	__u32 pci_device;	/* struct pci_dev.device */
	__u32 status;		/* device status (VirtIO 2.1) */
	__u32 count;		/* virtqueues asked for */
	__u32 queue_index;	/* struct virtqueue.index */
	__u32 queue_size;	/* descriptors in the ring: struct virtqueue.num_free of a new queue */
	__u32 vector;		/* MSI-X vector; 65535 is none (VIRTIO_MSI_NO_VECTOR) */
	__u32 unused;
	char comm[16];		/* NUL-terminated, as all names here */
	char bus[16];		/* name of the bus that the address is on: pci, platform, ... */
	char address[40];	/* name of the device on that bus */
	char name[64];		/* of the driver, the bus or the module; MODULE_NAME_LEN is 56 */
	char queue_name[32];	/* struct virtqueue.name */
};

#define VT_TABLE_LENGTH 64	/* virtio_net has 36 features in Linux 7.3 */

/* The event of a VT_TABLE: an array of bit numbers each (struct virtio_driver, feature_table). */
struct vt_table {
	struct vt_event event;
	__u32 length;		/* of the table in the driver; what is over VT_TABLE_LENGTH - 1 is not here */
	__u32 legacy_length;
	__u32 bits[VT_TABLE_LENGTH];
	__u32 legacy_bits[VT_TABLE_LENGTH];
	__u32 has_legacy;	/* 0: the driver has no table of its own for legacy devices */
	__u32 unused;
};

/* How a probe point's arguments are to be read; set by the loader, one for each number. */
struct vt_point {
	__u32 subject;		/* enum vt_subject of the first argument */
	__u32 driver_second;	/* 1: the second argument is a VT_DRIVER */
	__u32 reread;		/* 1: the first is a VT_VIRTIO_DEVICE to be read again at the return */
	__u32 detail;		/* enum vt_detail */
	__u32 returns;		/* 1: the return makes an event */
	__u32 quiet_entry;	/* 1: only the return makes an event */
};

/* Offsets in bytes, from the running kernel's BTF and from tracefs; set by the loader. */
struct vt_offsets {
	__u32 device_name;		/* struct device: kobj.name */
	__u32 device_parent;		/* struct device: parent */
	__u32 device_bus;		/* struct device: bus */
	__u32 device_driver;		/* struct device: driver */
	__u32 bus_name;			/* struct bus_type: name */
	__u32 driver_name;		/* struct device_driver: name */
	__u32 pci_dev_dev;		/* struct pci_dev: dev */
	__u32 pci_dev_vendor;		/* struct pci_dev: vendor */
	__u32 pci_dev_device;		/* struct pci_dev: device */
	__u32 platform_device_dev;	/* struct platform_device: dev */
	__u32 virtio_device_index;	/* struct virtio_device: index */
	__u32 virtio_device_dev;	/* struct virtio_device: dev */
	__u32 virtio_device_id;		/* struct virtio_device: id.device */
	__u32 virtio_device_vendor;	/* struct virtio_device: id.vendor */
	__u32 module_load_name;		/* tracepoint module:module_load: __data_loc name */
	__u32 virtio_device_features;	/* struct virtio_device: features; 0 is unknown, as below */
	__u32 virtio_device_words;	/* how many u64 those are: 1, or 2 since Linux 6.17 */
	__u32 virtio_device_config;	/* struct virtio_device: config */
	__u32 config_extended;		/* struct virtio_config_ops: get_extended_features */
	__u32 driver_table;		/* struct virtio_driver: feature_table */
	__u32 driver_table_size;	/* struct virtio_driver: feature_table_size */
	__u32 driver_legacy;		/* struct virtio_driver: feature_table_legacy */
	__u32 driver_legacy_size;	/* struct virtio_driver: feature_table_size_legacy */
	__u32 queue_index;		/* struct virtqueue: index */
	__u32 queue_name;		/* struct virtqueue: name */
	__u32 queue_free;		/* struct virtqueue: num_free */
	__u32 module_name;		/* struct module: name */
};

#endif
