# SPDX-License-Identifier: GPL-2.0-or-later
"""The offsets of this kernel's struct members, from its BTF."""

from __future__ import annotations

from virtio_trace.errors import BadInputError, CannotTraceError
from virtio_trace.kernel.drivers.evidence import Symbols
from virtio_trace.kernel.files.btf import Btf

_MEMBERS = {
    "device_name": ("device", "kobj.name"),
    "device_parent": ("device", "parent"),
    "device_bus": ("device", "bus"),
    "device_driver": ("device", "driver"),
    "bus_name": ("bus_type", "name"),
    "driver_name": ("device_driver", "name"),
    "virtio_device_index": ("virtio_device", "index"),
    "virtio_device_dev": ("virtio_device", "dev"),
    "virtio_device_id": ("virtio_device", "id.device"),
    "virtio_device_vendor": ("virtio_device", "id.vendor"),
}

_OPTIONAL = {  # a kernel without PCI or platform devices lacks the struct: then 0
    "pci_dev_dev": ("pci_dev", "dev"),
    "pci_dev_vendor": ("pci_dev", "vendor"),
    "pci_dev_device": ("pci_dev", "device"),
    "platform_device_dev": ("platform_device", "dev"),
}

_UNKNOWN = {  # 0 means unknown: the program then does not read it, and no event shows it
    "virtio_device_features": ("virtio_device", "features"),
    "virtio_device_config": ("virtio_device", "config"),
    "config_extended": ("virtio_config_ops", "get_extended_features"),  # since Linux 6.17
    "queue_free": ("virtqueue", "num_free"),
    "module_name": ("module", "name"),
}

_FETCHED = {  # the same, but only fetch arguments read them
    "queue_index": ("virtqueue", "index"),
    "queue_name": ("virtqueue", "name"),
}


def struct_offsets(btf: Btf, symbols: Symbols) -> dict[str, int]:
    """All offsets that the kernel's files tell, in bytes, by their names in struct vt_offsets.

    There is none for struct virtio_driver: it begins with its struct device_driver
    (include/linux/virtio.h), as struct virtio_pci_device begins with its struct virtio_device.
    Raises CannotTraceError if a required one is unknown.
    """
    types = _with_virtio(btf, symbols)
    found = {name: types.offset(*member) for name, member in _MEMBERS.items()}
    for name, member in _OPTIONAL.items():
        found[name] = types.offset(*member) if types.has(member[0]) else 0
    for name, member in (_UNKNOWN | _FETCHED).items():
        found[name] = _known(types, *member)
    # features became the first word of features_array in Linux 6.17
    found["virtio_device_words"] = 2 if _known(types, "virtio_device", "features_array") else 1
    return found | _tables(symbols)


def _known(types: Btf, struct: str, member: str) -> int:
    try:
        return types.offset(struct, member)
    except CannotTraceError:
        return 0


def _tables(symbols: Symbols) -> dict[str, int]:
    """The driver's feature tables, by the layout with which the .ko files were read."""
    shape = symbols.layout.structs.get("virtio_driver") if symbols.layout else None
    if shape is None or len(shape.features) != 2:
        return {}
    (table, size), (legacy, legacy_size) = shape.features
    return {
        "driver_table": table,
        "driver_table_size": size,
        "driver_legacy": legacy,
        "driver_legacy_size": legacy_size,
    }


def _with_virtio(btf: Btf, symbols: Symbols) -> Btf:
    """The kernel's types, and the virtio module's if the kernel's lack VirtIO's structs."""
    if all(btf.has(struct) for struct in ("virtio_device", "virtqueue", "virtio_config_ops")):
        return btf
    try:
        module = symbols.module("virtio")
        section = module.section(".BTF")
        if section is not None:
            return Btf(module.contents(section), "virtio", btf)
    except BadInputError as error:
        if btf.has("virtio_device"):
            return btf
        raise CannotTraceError(f"no struct virtio_device: {error}", error.hint) from error
    if btf.has("virtio_device"):
        return btf
    raise CannotTraceError(
        "no struct virtio_device in the BTF of this kernel or of its virtio module",
        "use a kernel with CONFIG_DEBUG_INFO_BTF and CONFIG_VIRTIO",
    )
