# SPDX-License-Identifier: GPL-2.0-or-later
"""Modified real recordings for profile spec: for each rule, those that violate it."""

from __future__ import annotations

from collections.abc import Callable

from tests.unit.surgery import Line, Where, at, change, golden, mend, move, remove
from virtio_trace.check import spec_steps
from virtio_trace.check.findings import ERROR, Result

NET, REFUSED, LEGACY, BALLOON = (f"0000:00:0{number}.0" for number in (2, 3, 4, 5))
"""NET is the same in all recordings; the others are in debian-6.1-failures."""

CONFORMING = ("debian-6.1", "debian-6.1-rebind", "debian-6.1-failures", "debian-6.1-refused",
              "debian-6.1-suspend")  # fmt: skip
IDS = {step.id for step in spec_steps.STEPS}

Cut = Callable[[], list[Line]]


def status(value: int, address: str = NET) -> Where:
    """Matches the writes of the status VALUE to the device at ADDRESS."""
    writes = at("set_status", address)
    return lambda line: writes(line) and line["detail"]["status"] == value


def written(lines: list[Line], value: int, to: int, address: str = NET, **more: str) -> list[Line]:
    """LINES with the status TO, or other features, in place of the status VALUE."""
    (features,) = {line["detail"]["features"] for line in lines if status(value, address)(line)}
    detail = {"status": to, "features": features, **more}
    return change(lines, status(value, address), detail=detail)


def errors(result: Result) -> set[tuple[str, str]]:
    """The step and subject of each error."""
    return {(f.step, f.subject) for f in result.findings if f.severity == ERROR}


def boot() -> list[Line]:
    return golden("debian-6.1")


def failures() -> list[Line]:
    return golden("debian-6.1-failures")


def nth(where: Where, number: int, lines: list[Line]) -> Where:
    """Matches only the event with index NUMBER (from 0) of those that WHERE matches."""
    seq = [line["seq"] for line in lines if "seq" in line and where(line)][number]
    return lambda line: line["seq"] == seq


def copied(lines: list[Line], where: Where, after: Where) -> list[Line]:
    """LINES with a copy of the events that WHERE matches after the last one that AFTER matches."""
    place = max(i for i, line in enumerate(lines) if "seq" in line and after(line))
    again = [line for line in lines if "seq" in line and where(line)]
    return mend([*lines[: place + 1], *again, *lines[place + 1 :]])


def unbound_without_reset() -> list[Line]:
    lines = golden("debian-6.1-rebind")
    return remove(lines, nth(at("reset", NET), 1, lines))


def failed_and_bound_without_failed() -> list[Line]:
    """A binding failed, and the next one writes a status without FAILED, with no reset."""
    lines = golden("debian-6.1-refused")
    return change(lines, nth(status(0x83, REFUSED), 1, lines), detail={"status": 3})


def set_on_failed_by_others() -> list[Line]:
    """FAILED is set at the start, without an earlier binding that failed."""
    lines = written(boot(), 3, 0x83)
    return written(written(lines, 11, 0x8B), 15, 0x8F)


def without_acknowledge() -> list[Line]:
    lines = remove(boot(), status(1))
    return written(written(written(lines, 3, 2), 11, 10), 15, 14)


def without_driver() -> list[Line]:
    return written(written(remove(boot(), status(3)), 11, 9), 15, 13)


def bound_by_nothing() -> list[Line]:
    """virtio_dev_probe returned 0, but only set DRIVER."""
    shown = ("get_features", "virtio_features_ok", "setup_vq", "find_vqs", "find_vqs_msix")
    lines = boot()
    for where in (status(11), status(15), *(at(probe, NET) for probe in shown)):
        lines = remove(lines, where)
    return lines


def suspended() -> list[Line]:
    return golden("debian-6.1-suspend")


def restored(lines: list[Line], value: int) -> Where:
    """Matches the write of VALUE during the restoration of NET."""
    return nth(status(value), 1, lines)


def restored_with_failed() -> list[Line]:
    """What virtio_device_restore writes for a device that had FAILED."""
    lines = suspended()
    for value in (3, 11, 15):
        detail = {"status": value | 0x80, "features": "0x10130af8024"}
        lines = change(lines, nth(status(value), -1, lines), detail=detail)
    return lines


def features_ok_after_driver_ok() -> list[Line]:
    """An additional last write sets FEATURES_OK, which a legacy device does not have."""
    lines = copied(failures(), status(7, LEGACY), status(7, LEGACY))
    detail = {"status": 15, "features": "0x38af8064"}
    return change(lines, nth(status(7, LEGACY), 1, lines), detail=detail)


VIOLATIONS: dict[str, tuple[str, str, Cut]] = {
    "no reset": ("reset", NET, lambda: remove(boot(), at("reset", NET))),
    "reset after ACKNOWLEDGE": (
        "acknowledge", NET, lambda: move(boot(), at("reset", NET), status(1))),
    "bound again without reset": ("reset", NET, unbound_without_reset),
    "bound again after FAILED": ("reset", REFUSED, failed_and_bound_without_failed),
    "no ACKNOWLEDGE": ("acknowledge", NET, lambda: remove(boot(), status(1))),
    "DRIVER without ACKNOWLEDGE": (
        "acknowledge", NET, lambda: written(remove(boot(), status(1)), 3, 2)),
    "ACKNOWLEDGE after DRIVER": ("acknowledge", NET, lambda: move(boot(), status(1), status(3))),
    "ACKNOWLEDGE with DRIVER": ("acknowledge", NET, lambda: written(boot(), 1, 3)),
    "never ACKNOWLEDGE": ("acknowledge", NET, without_acknowledge),
    "never DRIVER": ("driver", NET, without_driver),
    "bound without any features": ("features-read", NET, bound_by_nothing),
    "restored without a reset": (
        "status-kept", NET, lambda: remove(suspended(), lambda line: at("reset", NET)(line)
                                           and line["seq"] > 208)),
    "restored without DRIVER_OK": (
        "driver-ok", NET, lambda: remove(suspended(), restored(suspended(), 15))),
    "restored without FEATURES_OK": (
        "features-ok", NET, lambda: remove(suspended(), restored(suspended(), 11))),
    "no DRIVER": ("driver", NET, lambda: remove(boot(), status(3))),
    "DRIVER with FEATURES_OK": ("driver", NET, lambda: written(boot(), 3, 11)),
    "DRIVER after the features": (
        "driver", NET, lambda: move(boot(), status(3), at("get_features", NET))),
    "features not read": ("features-read", NET, lambda: remove(boot(), at("get_features", NET))),
    "features read after FEATURES_OK": (
        "features-read", NET, lambda: move(boot(), at("get_features", NET), status(11))),
    "features of a legacy device not read": (
        "features-read", LEGACY, lambda: remove(failures(), at("get_features", LEGACY))),
    "a feature that is not offered": (
        "features-written", NET, lambda: written(boot(), 11, 11, features="0x10130af8025")),
    "a feature that a legacy device does not offer": (
        "features-written", LEGACY,
        lambda: written(failures(), 7, 7, LEGACY, features="0x38af8067")),
    "VIRTIO_F_VERSION_1 not accepted": (
        "features-written", NET, lambda: written(boot(), 11, 11, features="0x10030af8024")),
    "no FEATURES_OK": ("features-ok", NET, lambda: remove(boot(), status(11))),
    "never FEATURES_OK": (
        "features-ok", NET, lambda: written(remove(boot(), status(11)), 15, 7)),
    "FEATURES_OK after the virtqueues": (
        "features-ok", NET, lambda: move(boot(), status(11), at("setup_vq", NET))),
    "FEATURES_OK of a legacy device": (
        "features-ok", LEGACY, lambda: written(failures(), 7, 15, LEGACY)),
    "another feature after FEATURES_OK": (
        "features-ok", NET, lambda: written(boot(), 15, 15, features="0x10130bf8024")),
    "FEATURES_OK not read again": (
        "features-accepted", NET, lambda: remove(boot(), at("virtio_features_ok", NET))),
    "FEATURES_OK read again after the virtqueues": (
        "features-accepted", NET,
        lambda: move(boot(), at("virtio_features_ok", NET), status(15))),
    "features refused, and on": (
        "features-accepted", NET,
        lambda: change(boot(), at("virtio_features_ok", NET, kind="return"), result=-19)),
    "no virtqueue": ("device-setup", NET, lambda: remove(boot(), at("setup_vq", NET))),
    "virtqueues after DRIVER_OK": (
        "device-setup", NET, lambda: move(boot(), at("setup_vq", NET), status(15))),
    "no DRIVER_OK": ("driver-ok", NET, lambda: remove(boot(), status(15))),
    "no DRIVER_OK of a legacy device": (
        "driver-ok", LEGACY, lambda: remove(failures(), status(7, LEGACY))),
    "a step after DRIVER_OK": ("driver-ok", LEGACY, features_ok_after_driver_ok),
    "DRIVER cleared": ("status-kept", NET, lambda: written(boot(), 11, 9)),
    "FEATURES_OK cleared": ("status-kept", NET, lambda: written(boot(), 15, 7)),
    "unbound by clearing": ("status-kept", NET, unbound_without_reset),
    "on after FAILED": ("failed", NET, set_on_failed_by_others),
}  # fmt: skip
