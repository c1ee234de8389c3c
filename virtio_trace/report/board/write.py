# SPDX-License-Identifier: GPL-2.0-or-later
"""Writes a board that a recording passes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from virtio_trace.report.seen import Seen, SeenDevice
from virtio_trace.report.state import BOUND, UNKNOWN

_SPECIAL = re.compile(r"[^\x20-\x21\x23-\x5b\x5d-\x7e]")


def board_text(seen: Seen) -> str:
    """The board of what was SEEN, as TOML: every device that is there at the end, by address, with
    all that is known of it. Times are comments: they vary."""
    lines = [
        f"# The virtio devices of a machine with Linux {_comment(seen.release)}, for",
        "# virtio-trace check --board FILE. Leave out what may vary.",
        "",
        "[board]",
        "only = true  # no other virtio device",
        f"# kernel = [{_string(_series(seen.release))}]",
    ]
    for device in sorted(seen.devices, key=lambda one: one.address):
        if device.is_there:
            lines += ["", *_device(device)]
    return "\n".join(lines) + "\n"


def _device(device: SeenDevice) -> Iterator[str]:
    yield "[[device]]"
    yield f"address = {_string(device.address)}"
    if device.type is not None:
        yield f"type = {_string(device.type)}"
    if device.transport != UNKNOWN:
        yield f"transport = {_string(device.transport)}"
    if device.state != BOUND:
        if device.state != UNKNOWN:
            yield f"state = {_string(device.state)}"
        return
    yield f"driver = {_string(device.driver or '')}"
    if device.features:
        yield from _array("features", device.features)
    bound = device.bound
    if bound is None:
        return
    if bound.queues:
        yield f"queues = {len(bound.queues)}"
        vectors = {queue.vector for queue in bound.queues} - {None}
        if vectors:
            yield f"vectors = {len(vectors)}"
    if bound.duration_ns is not None:
        yield f"# probe_ms = {max(1, round(bound.duration_ns / 1e6 * 10))}  # ten times as long"


def _array(key: str, names: Iterable[str]) -> Iterator[str]:
    yield f"{key} = ["
    for name in names:
        yield f"  {_string(name)},"
    yield "]"


def _series(release: str) -> str:
    """A pattern for the releases of the same series: 6.1.* for 6.1.0-50-cloud-amd64."""
    found = re.match(r"\d+\.\d+", release)
    return f"{found[0]}.*" if found else release


def _comment(text: str) -> str:
    return _string(text)[1:-1]


def _string(text: str) -> str:
    """TEXT as a basic string of TOML, in ASCII."""
    return '"' + _SPECIAL.sub(_escaped, text) + '"'


def _escaped(found: re.Match[str]) -> str:
    number = ord(found[0])
    if found[0] in '"\\':
        return "\\" + found[0]
    if 0xD800 <= number < 0xE000:
        return "\\uFFFD"  # TOML has no surrogates
    return f"\\u{number:04X}" if number < 0x10000 else f"\\U{number:08X}"
