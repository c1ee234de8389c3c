# SPDX-License-Identifier: GPL-2.0-or-later
"""What virtio-trace help TOPIC explains. Man pages and docs/commands.md have the same text."""

from __future__ import annotations

from dataclasses import dataclass

import click


@dataclass(frozen=True, slots=True)
class Topic:
    """``blocks`` are paragraphs (str), and lists of terms with their descriptions (tuple)."""

    summary: str
    blocks: tuple[str | tuple[tuple[str, str], ...], ...]


_EXIT_STATUS = Topic(
    "What the exit status says.",
    (
        (
            ("0", "done; the recording conforms"),
            (
                "1",
                "check, boot, record with a verdict: the recording deviates;"
                " diff: something differs; matrix: a case is not as expected",
            ),
            ("2", "invalid usage"),
            ("3", "this machine or kernel cannot do it, or the output cannot be written"),
            (
                "4",
                "incomplete: events were lost, probes not armed, time ran out, or the disk is"
                " full; diff: nothing known differs, but not everything is known; matrix: a case"
                " could not be told, or is missing",
            ),
            ("5", "bad input: a file is damaged, or of another kind"),
        ),
        "The verdict of check and boot is 0, 1 or 4. If a difference or a failed case is"
        " known, diff and matrix end with 1, whatever else is unknown. report, graph, script"
        " and board end with 0 if the file can be read, fleet sql and fleet summary if the"
        " lake can. fleet import ends with 5 if a recording is damaged; the others are in the"
        " lake. record -- COMMAND ends with COMMAND's own status if that is not 0; with"
        " --rebind, --device or --driver else with the verdict's. In a shell, a command that"
        " is ended by a signal has status 128 plus the signal's number (Ctrl-C: 130). If"
        " nobody reads the output any more (| head), SIGPIPE ends the command, as it does"
        " other filters.",
    ),
)

_VERDICT = Topic(
    "What a verdict means, and the marks in its tables.",
    (
        (
            ("CONFORMS", "Every step was seen, with the result that it must have."),
            ("DEVIATES", "At least one step failed, is missing, or came in the wrong order."),
            (
                "INCOMPLETE",
                "The recording proves neither: events were lost, or a probe was not armed in time.",
            ),
        ),
        "In the tables of check and boot:",
        (
            ("ok", "the step was seen, and is right"),
            ("FAILED", "the step is wrong or missing; the errors say why"),
            ("?", "the recording cannot tell"),
            ("-", "the step does not apply"),
            ("before", "the step came before the recording, and was not asked for"),
        ),
        "Profile linux is the procedure of the kernel. Profile spec is the specification's for"
        " initialising a device. check -v prints the source of each step.",
    ),
)

_REQUIREMENTS = Topic(
    "What each command needs of the machine.",
    (
        (
            (
                "report, check, graph, script, board, diff",
                "No root, no kernel, no BCC: they read a file.",
            ),
            ("inspect, cmdline", "A kernel's files. inspect needs no root."),
            (
                "record",
                "Root, kprobes, BTF, tracefs and debugfs, and this kernel's module files. The BPF"
                " programs are in the Debian package; otherwise BCC compiles them once (package"
                " python3-bpfcc). virtio-trace doctor checks all of it.",
            ),
            (
                "boot",
                "QEMU for the kernel's machine (qemu-system-x86, qemu-system-arm), kmod and an apt"
                " mirror; for --image also qemu-utils, fdisk, e2fsprogs and, for an EFI system"
                " partition, mtools; for xfs, btrfs and LVM grub-common; for unified kernel images"
                " pefile. Not root. KVM is used"
                " if this user may open /dev/kvm.",
            ),
            (
                "graph --format png",
                "rsvg-convert (package librsvg2-bin), CairoSVG or Graphviz. svg needs nothing.",
            ),
            (
                "check --format kcidb",
                "Python package kcidb-io, an extra: in a clone, pip install '.[ci]'.",
            ),
            (
                "matrix",
                "As boot. --scheduler needs Dask, here and on each worker: python3-distributed, or"
                " pip install distributed. matrix merge needs only the folders.",
            ),
            (
                "fleet",
                "Python packages that are an extra: in a clone, pip install '.[fleet]'. fleet"
                " summary --spark also needs extra spark, and Java 17 or 21.",
            ),
        ),
    ),
)

_ENVIRONMENT = Topic(
    "The environment variables that are read.",
    (
        (
            (
                "XDG_CACHE_HOME",
                "Where the folder virtio-trace with the cache is. Default: ~/.cache. A relative"
                " path is ignored.",
            ),
            ("TMPDIR", "Where temporary files are made. Default: /tmp."),
            ("COLUMNS", "The width of the terminal, if the output is one."),
            ("NO_COLOR", "No colours, if it is not empty (https://no-color.org)."),
            ("TERM", "dumb: no colours."),
            ("NOTIFY_SOCKET", "Where record tells systemd READY=1 (Type=notify)."),
        ),
    ),
)

_FILES = Topic(
    "The files that are read and written.",
    (
        (
            (
                "virtio-trace.vtr",
                "The recording, in the current folder, unless -o names another. An existing one"
                " becomes virtio-trace.vtr.old.",
            ),
            (
                "~/.cache/virtio-trace",
                "Kernels, packages and compiled programs. It can be removed at any time.",
            ),
            ("/sys/kernel/tracing", "record adds kprobe events here, and removes them."),
            (
                "DIR of boot --artifacts",
                "The recording, its reports, the console and a test report. Files of these names"
                " that were there before are removed.",
            ),
            (
                "matrix-out",
                "The results of matrix, in the current folder, unless -o names another: a folder"
                " for each case, junit.xml, matrix.json and index.html. Results that are there"
                " are kept, unless --resume runs their case again.",
            ),
            (
                "LAKE",
                "What fleet import found in recordings, as Parquet files. fleet sql and fleet"
                " summary only read it. It can be made again from the recordings.",
            ),
            (
                "boards, plans",
                "TOML files. board writes a board; check, boot and matrix read boards, and matrix"
                " a plan. docs/board.md and docs/matrix.md describe them.",
            ),
        ),
    ),
)

TOPICS = {
    "environment": _ENVIRONMENT,
    "exit-status": _EXIT_STATUS,
    "files": _FILES,
    "requirements": _REQUIREMENTS,
    "verdict": _VERDICT,
}


def write_topic(topic: Topic, formatter: click.HelpFormatter) -> None:
    """Write TOPIC as --help is written."""
    formatter.write_text(topic.summary)
    for block in topic.blocks:
        formatter.write_paragraph()
        with formatter.indentation():
            if isinstance(block, str):
                formatter.write_text(block)
            else:
                formatter.write_dl(block)
