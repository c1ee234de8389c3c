# SPDX-License-Identifier: GPL-2.0-or-later
"""The reasons where the kernel refused a module: real recordings with lines of the log added.

tests/vm/test_refused.py has real kernels that refuse real modules.
"""

from __future__ import annotations

from tests.unit.check.test_diagnosis import RNG, reason
from tests.unit.surgery import Line, golden
from virtio_trace.recording.refusal import LOADER

_MODULE = "its module virtio_rng (alias virtio:d00000004v*)"
_REJECTED = f"{LOADER}ERROR: could not insert 'virtio_rng': Key was rejected by service"
_UNSIGNED = "Loading of unsigned module is rejected"
_MAGIC = "virtio_rng: version magic 'a' should be 'b'"


def board(*texts: str) -> list[Line]:
    """Debian's 6.1 without a driver for RNG; the log has TEXTS."""
    lines = golden("debian-6.1-reasons")
    lines[0]["forbidden"] = []
    kept = [x for x in lines[-1]["log"]["lines"] if "blacklisted" not in x["text"]]
    added = [{"ns": 1, "level": 4, "text": text, "device": None} for text in texts]
    lines[-1]["log"]["lines"] = kept + added
    return lines


def said(*texts: str) -> str:
    return reason(board(*texts), RNG).partition("was never registered: ")[2]


def test_a_line_that_names_the_module() -> None:
    assert said(_MAGIC) == f'the kernel refused to load {_MODULE}: -8 (ENOEXEC): "{_MAGIC}"'


def test_modprobes_error_and_the_kernels_cause_without_a_name() -> None:
    words = "could not insert 'virtio_rng': Key was rejected by service"
    assert said(_REJECTED, _UNSIGNED) == (
        f'{_MODULE} could not be loaded: -129 (EKEYREJECTED): modprobe said "{words}"; the '
        f'kernel\'s log, which does not name the module: "{_UNSIGNED}"'
    )
    assert said(_REJECTED).endswith(
        f'"{words}"; the kernel\'s log does not say why (it says nothing of a signature that does '
        "not match the module)"
    )


def test_modprobes_error_for_a_module_that_it_needs() -> None:
    other = _MAGIC.replace("virtio_rng", "rng_core")
    found = said(f"{LOADER}ERROR: could not insert 'virtio_rng': Exec format error", other)
    assert found.endswith(
        f'the kernel\'s log has another module, which this one may need: "{other}"'
    )


def test_lines_that_name_no_module_or_others_are_uncertain() -> None:
    assert said(_UNSIGNED) == (
        f"{_MODULE} was not loaded; the kernel refused to load a module that its log does not "
        f'name, possibly this one: -129 (EKEYREJECTED): "{_UNSIGNED}"'
    )
    other = _MAGIC.replace("virtio_rng", "rng_core")
    assert said(other) == (
        f"{_MODULE} was not loaded; the kernel refused other modules, which this one may need: "
        f'"{other}"'
    )


def test_a_rule_explains_it_without_a_guess() -> None:
    lines = board(_UNSIGNED)
    lines[0]["forbidden"] = [{"what": "virtio_rng", "by": "blacklist", "where": "/etc/x.conf"}]
    assert reason(lines, RNG).endswith('was not loaded: "blacklist virtio_rng" is in /etc/x.conf')


def test_the_kernels_own_blacklist_is_the_cause_of_what_modprobe_says() -> None:
    """module_blacklist=: the kernel returns EPERM, and logs the module's name."""
    failed = f"{LOADER}ERROR: could not insert 'virtio_rng': Operation not permitted"
    lines = board("Module virtio_rng is blacklisted", failed)
    rule = {"what": "virtio_rng", "by": "module_blacklist", "where": "the kernel command line"}
    lines[0]["forbidden"] = [rule]
    assert reason(lines, RNG).endswith(
        f"{_MODULE} was not loaded: module_blacklist=virtio_rng is on the kernel command line; the "
        'kernel\'s log: "Module virtio_rng is blacklisted"'
    )


def test_many_lines_are_few_words() -> None:
    many = [f"virtio_rng: Unknown symbol f{n} (err -2)" for n in range(50)]
    found = said(*many, *many)
    assert found.endswith('"virtio_rng: Unknown symbol f2 (err -2)" and 47 more')


def test_a_module_that_was_loaded_in_the_end() -> None:
    lines = board(_MAGIC)
    lines[-1]["final"]["modules"].append("virtio_rng")
    assert "was loaded, but what its init returned is not in the recording" in reason(lines, RNG)
