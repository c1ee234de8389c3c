/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The wire contract between bpf/probe.bpf.c and virtio_trace/tracer/bpf/wire.py: fixed-width
 * integers, each with its unit, no implicit padding. tests/unit/tracer/bpf/test_wire.py compares
 * the ctypes mirror with a compiler's layout of this file.
 */
#ifndef VT_EVENTS_H
#define VT_EVENTS_H

#define VT_MAX_POINTS 256 /* a kernel's probe points; their numbers are below this */

/* The first member of every record in the ring. */
enum vt_kind {
	VT_ENTRY = 1,	     /* a probed function was entered: struct vt_entered */
	VT_RETURN = 2,	     /* it returned: struct vt_returned */
	VT_MODULE = 3,	     /* module:module_load: relocated, its init not yet called: vt_module */
	VT_KNOWN_DEVICE = 4, /* describes a device: struct vt_device; not an event */
	VT_KNOWN_DRIVER = 5, /* describes a driver: struct vt_driver; not an event */
	VT_ENTRY_NAMED = 6,  /* as VT_ENTRY, of a VT_NAMED point: struct vt_named */
	VT_RETURN_KEPT = 7,  /* as VT_RETURN, of a VT_SAVE_ARGS point: struct vt_returned_kept */
};

/* What the first argument of a probed function points to. */
enum vt_subject {
	VT_NOTHING = 0,
	VT_PCI_DEV = 1,		/* struct pci_dev */
	VT_PLATFORM_DEVICE = 2, /* struct platform_device */
	VT_VIRTIO_DEVICE = 3,	/* struct virtio_device, or a struct that begins with one */
	VT_DEVICE = 4,		/* struct device inside a struct virtio_device */
	VT_DRIVER = 5,	 /* struct device_driver, or struct virtio_driver, which begins with one */
	VT_BUS_TYPE = 6, /* struct bus_type; only the one named "virtio" makes an event */
	VT_MODULE_STRUCT = 7, /* struct module */
};

/* What a probe point shows besides its device and driver. */
enum vt_detail {
	VT_PLAIN = 0,		/* nothing */
	VT_STATUS = 1,		/* entry: the second argument is the device status to write */
	VT_RESET = 2,		/* entry: status 0 is written */
	VT_FEATURES = 3,	/* return: the features that the device offers */
	VT_TABLE = 4,		/* entry: the feature tables of the device's driver */
	VT_COUNT = 5,		/* entry: the second argument is the number of virtqueues */
	VT_QUEUE = 6,		/* entry: a virtqueue's index, name and vector; return: its size */
	VT_QUEUE_NO_VECTOR = 7, /* the same on a transport without a vector per queue */
};

/*
 * How to read a probe point. The loader writes it, with the point's number, into a constant of the
 * program. Bits 0 to 3 are an enum vt_subject (of the first argument), bits 4 to 7 an enum
 * vt_detail, the others are these.
 */
enum vt_shape {
	VT_ARG2_DRIVER = 256,  /* the second argument is a VT_DRIVER; the event is about it, too */
	VT_SAVE_ARGS = 512,    /* the return needs the arguments: save them at entry */
	VT_REDESCRIBE = 1024,  /* the address may be reused: describe it again */
	VT_RETURN_ONLY = 2048, /* only the return makes an event */
	VT_NAMED = 4096,       /* the entry is a struct vt_named */
	VT_RETURNS = 8192,     /* the return is traced, too */
	VT_BINDS = 16384,      /* while a call is open, its device has the driver of its entry */
};

/* Which fields of a record are known. */
enum vt_has {
	VT_HAS_ID = 1,	      /* device, vendor */
	VT_HAS_INDEX = 2,     /* index: the N of virtioN */
	VT_HAS_PCI = 4,	      /* pci_vendor, pci_device */
	VT_HAS_STATUS = 8,    /* status */
	VT_HAS_FEATURES = 16, /* features */
	VT_HAS_TABLE = 32,    /* the feature tables of a driver */
	VT_HAS_COUNT = 64,    /* count */
	VT_HAS_QUEUE = 128,   /* queue_index, and the name of the struct vt_named */
	VT_HAS_SIZE = 256,    /* queue_size */
	VT_HAS_VECTOR = 512,  /* vector */
	VT_HAS_COMM = 1024,   /* comm; else it is that of the thread's last event that has it */
	VT_HAS_LOST = 2048,   /* lost, lost_here; else both are 0 */
};

/*
 * What all events begin with. A member that `has` does not announce has no meaning: the program
 * does not clear what it does not fill in.
 */
struct vt_event {
	__u32 kind;  /* enum vt_kind */
	__u32 probe; /* number of the probe point, below VT_MAX_POINTS; VT_MODULE: 0 */
	__u32 cpu;
	__u32 tid;	 /* thread id in the initial PID namespace */
	__u64 ns;	 /* CLOCK_MONOTONIC, nanoseconds since boot */
	__u64 stack;	 /* the stack pointer; a return's is its entry's, or 8 bytes above it */
	__u64 lost;	 /* events lost before this one, of all probe points */
	__u64 lost_here; /* events lost before this one, of this probe point */
	char comm[16];	 /* NUL-terminated, as all names here */
	__u32 has;	 /* enum vt_has */
	__u32 unused;
};

struct vt_entered {
	struct vt_event event;
	__u64 device;	   /* address that an earlier VT_KNOWN_DEVICE describes; 0: no device */
	__u64 driver;	   /* the same for VT_KNOWN_DRIVER */
	__u64 features[2]; /* bits 0 to 63, 64 to 127 */
	__u32 status;	   /* device status (VirtIO 2.1) */
	__u32 count;	   /* number of virtqueues requested */
	__u32 queue_index; /* struct virtqueue.index */
	__u32 vector;	   /* MSI-X vector; 65535 (VIRTIO_MSI_NO_VECTOR): no vector */
};

struct vt_named {
	struct vt_entered entered;
	char name[64]; /* a module's (MODULE_NAME_LEN is 56), or struct virtqueue.name */
};

struct vt_returned {
	struct vt_event event;
	__s64 result;	  /* the return register */
	__u32 queue_size; /* descriptors in the ring: struct virtqueue.num_free of a new queue */
	__u32 unused;
};

struct vt_returned_kept {
	struct vt_returned returned;
	__u64 entered_ns;  /* time of entry; 0: it was not seen */
	__u64 device;	   /* as in struct vt_entered */
	__u64 driver;	   /* as in struct vt_entered */
	__u64 features[2]; /* bits 0 to 63, 64 to 127 */
};

struct vt_module {
	struct vt_event event;
	char name[64];
};

/* A device, as far as the kernel has initialised it at this moment. */
struct vt_device {
	__u32 kind;	  /* VT_KNOWN_DEVICE */
	__u32 has;	  /* enum vt_has */
	__u64 key;	  /* kernel address; it never leaves the decoder */
	__u32 index;	  /* struct virtio_device.index */
	__u32 device;	  /* struct virtio_device_id.device */
	__u32 vendor;	  /* struct virtio_device_id.vendor */
	__u32 pci_vendor; /* struct pci_dev.vendor */
	__u32 pci_device; /* struct pci_dev.device */
	__u32 unused;
	char bus[16];	  /* name of the parent's bus: pci, platform, ... */
	char address[40]; /* name of the parent on that bus */
};

#define VT_TABLE_LENGTH 64 /* virtio_net has 36 features in Linux 7.3 */

/* A driver. Its feature tables are arrays of bit numbers (struct virtio_driver, feature_table). */
struct vt_driver {
	__u32 kind; /* VT_KNOWN_DRIVER */
	__u32 has;  /* VT_HAS_TABLE or 0 */
	__u64 key;  /* kernel address; it never leaves the decoder */
	char name[64];
	__u32 length; /* of feature_table; bits[] has it only if below VT_TABLE_LENGTH */
	__u32 legacy_length;
	__u32 has_legacy; /* 0: the driver has no feature_table_legacy */
	__u32 unused;
	__u32 bits[VT_TABLE_LENGTH];
	__u32 legacy_bits[VT_TABLE_LENGTH];
};

/* Offsets in bytes, from the running kernel's BTF and from tracefs; set by the loader. */
struct vt_offsets {
	__u32 device_name;	      /* struct device: kobj.name */
	__u32 device_parent;	      /* struct device: parent */
	__u32 device_bus;	      /* struct device: bus */
	__u32 device_driver;	      /* struct device: driver */
	__u32 bus_name;		      /* struct bus_type: name */
	__u32 driver_name;	      /* struct device_driver: name */
	__u32 pci_dev_dev;	      /* struct pci_dev: dev */
	__u32 pci_dev_vendor;	      /* struct pci_dev: vendor */
	__u32 pci_dev_device;	      /* struct pci_dev: device */
	__u32 platform_device_dev;    /* struct platform_device: dev */
	__u32 virtio_device_index;    /* struct virtio_device: index */
	__u32 virtio_device_dev;      /* struct virtio_device: dev */
	__u32 virtio_device_id;	      /* struct virtio_device: id.device */
	__u32 virtio_device_vendor;   /* struct virtio_device: id.vendor */
	__u32 module_load_name;	      /* tracepoint module:module_load: __data_loc name */
	__u32 virtio_device_features; /* struct virtio_device: features; 0: unknown, as below */
	__u32 virtio_device_words;    /* their length in u64: 1, or 2 since Linux 6.17 */
	__u32 virtio_device_config;   /* struct virtio_device: config */
	__u32 config_extended;	      /* struct virtio_config_ops: get_extended_features */
	__u32 driver_table;	      /* struct virtio_driver: feature_table */
	__u32 driver_table_size;      /* struct virtio_driver: feature_table_size */
	__u32 driver_legacy;	      /* struct virtio_driver: feature_table_legacy */
	__u32 driver_legacy_size;     /* struct virtio_driver: feature_table_size_legacy */
	__u32 queue_free;	      /* struct virtqueue: num_free */
	__u32 module_name;	      /* struct module: name */
};

#endif
