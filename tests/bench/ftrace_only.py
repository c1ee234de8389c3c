# SPDX-License-Identifier: GPL-2.0-or-later
"""A guest in which ftrace alone arms what the recorder arms: the least that tracing can cost.

As many events as fit are on the kernel's command line. A busybox shell, the first process, defines
and enables the others, and executes the initrd's own first process. There is no Python and no BPF.
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

from virtio_trace.cli.support.boot_parameters import boot_line
from virtio_trace.kernel.files.machine import X86_64
from virtio_trace.tracer.ftrace import cmdline
from virtio_trace.tracer.ftrace.definitions import definitions
from virtio_trace.tracer.ftrace.tracefs import MAXACTIVE
from virtio_trace.tracer.points import offline
from virtio_trace.vm.plan import Plan
from virtio_trace.vm.root import foreign_initrd, own
from virtio_trace.vm.root.cpio import Writer, append_file

_GROUP = "bench"

# A definition that the kernel refuses is one that the recorder cannot arm either.
_EARLY = f"""#!/virtio-trace/busybox sh
b=/virtio-trace/busybox
[ -e /dev/null ] && null= || {{ $b mknod /dev/null c 1 3 && null=/dev/null; }}
$b mkdir /virtio-trace/tracing
$b mount -t tracefs tracefs /virtio-trace/tracing
cd /virtio-trace/tracing
armed=0
while read -r line; do
    echo "$line" 2>/dev/null >>kprobe_events && armed=$((armed + 1))
done </virtio-trace/definitions
echo 1 >events/{_GROUP}/enable
echo 1 >events/module/module_load/enable
echo "BENCH $armed events by tracefs" >/dev/console
cd /
$b umount /virtio-trace/tracing
read -r next </virtio-trace/next
unset SHLVL PWD OLDPWD armed line
$b rm -rf /virtio-trace $null
exec "$next" "$@"
"""


def plan_and_definitions(plan: Plan) -> tuple[Plan, list[str]]:
    """PLAN with the events that fit on its command line, and the lines of kprobe_events that define
    the others."""
    assert plan.modules is not None
    kernel = offline.read(plan.vmlinuz, plan.modules)
    line = boot_line(plan, kernel)
    append = f"{plan.settings.append} {line.text if line else ''}".strip()
    with_events = replace(plan, settings=replace(plan.settings, append=append))
    done = _on_command_line(append)
    every = definitions(kernel.probes, kernel.offsets, kernel.machine, whole=False)
    # Without fetch arguments: that the function was called is enough to arm it.
    bare = [replace(one, arguments=()) for one in every]
    return with_events, [
        one.command(_GROUP, MAXACTIVE) for one in bare if (one.returns, str(one.target)) not in done
    ]


def _on_command_line(append: str) -> set[tuple[bool, str]]:
    """Whether it returns, and the target, of each event that kprobe_event= defines."""
    found = re.search(r"\bkprobe_event=(\S+)", append)
    lines = [word.replace(",", " ") for word in found[1].split(";")] if found else []
    return {(one.returns, one.target) for one in cmdline.listed("\n".join(lines))}


def write(out: BinaryIO, plan: Plan, lines: list[str], initrd: Path) -> None:
    """Writes the guest's whole initrd to OUT: ours, then INITRD."""
    assert plan.third_party is not None
    first = foreign_initrd.first_process(plan.third_party, plan.settings.append)
    with Writer(out) as root:
        root.file("virtio-trace/early", _EARLY.encode(), 0o755)
        root.file("virtio-trace/busybox", own.busybox(X86_64).read_bytes(), 0o755)
        root.file("virtio-trace/definitions", "".join(f"{line}\n" for line in lines).encode())
        root.file("virtio-trace/next", f"{first}\n".encode())
    append_file(out, initrd)
