# SPDX-License-Identifier: GPL-2.0-or-later
"""QEMU's monitor when its answers are damaged, huge, endless, or have an unexpected form."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from virtio_trace.errors import CannotTraceError
from virtio_trace.recording.host_view import HostView
from virtio_trace.vm.qemu import host_view, qmp
from virtio_trace.vm.qemu.qmp import Monitor, MonitorClosedError

Answer = Callable[[dict[str, Any]], bytes]
Serve = Callable[[Answer], Monitor]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """A monitor whose other end sends what a function returns for each command."""
    monitors, threads = [], []

    def begin(answer: Answer) -> Monitor:
        ours, theirs = socket.socketpair()

        def speak() -> None:
            decoder, text = json.JSONDecoder(), ""
            with theirs:
                try:
                    theirs.sendall(b'{"QMP": {}}\n')
                    while data := theirs.recv(4096):
                        text += data.decode()
                        while text:
                            command, end = decoder.raw_decode(text)
                            text = text[end:]
                            if command["execute"] == "qmp_capabilities":
                                theirs.sendall(b'{"return": {}}\n')
                            else:
                                theirs.sendall(answer(command))
                except OSError:
                    return

        thread = threading.Thread(target=speak)
        thread.start()
        threads.append(thread)
        monitors.append(Monitor(ours))
        monitors[-1].patience(5)
        return monitors[-1]

    yield begin
    for monitor in monitors:
        monitor.close()
    for thread in threads:
        thread.join(10)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (b'{"error": "text"}\n', "QEMU: x: text"),
        (b'{"error": ["a"]}\n', r"QEMU: x: \['a'\]"),
        (b'{"error": null}\n', "QEMU: x: None"),
        (b'{"error": {"class": "y"}}\n', "QEMU: x: None"),
        (b'{"error": {"desc": {"a": 1}}}\n', "QEMU: x: {'a': 1}"),
        (b"no json\n", "something other than JSON"),
        (b"[" * 100_000 + b"\n", "something other than JSON"),
        (b'{"return": ' + b"9" * 5000 + b"}\n", "something other than JSON"),
        (b"\xff\xfe\n", "something other than JSON"),
    ],
)
def test_an_answer_that_is_none_is_one_error(serve: Serve, line: bytes, words: str) -> None:
    with pytest.raises(CannotTraceError, match=words):
        serve(lambda _: line).command("x")


def test_an_endless_answer(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(qmp, "_LONGEST", 1 << 20)
    with pytest.raises(CannotTraceError, match="more than 1 MiB"):
        serve(lambda _: b"x" * (4 << 20)).command("x")


def test_events_without_end_are_not_waited_for(serve: Serve) -> None:
    monitor = serve(lambda _: b'{"event": "x"}\n' * 1_000_000)
    monitor.patience(0.5)
    with pytest.raises(CannotTraceError, match=r"does not answer|in time"):
        monitor.command("x")


def test_a_qemu_that_is_gone(serve: Serve) -> None:
    ours, theirs = socket.socketpair()
    theirs.close()
    with pytest.raises(MonitorClosedError):
        Monitor(ours).command("x")
    ours.close()


SHAPES: list[Any] = [None, True, 0, -1, 1.5, 10**30, "", "text", [], [[]], [{}], {}, {"qemu": 1}]
GOOD = {
    "query-version": {"qemu": {"major": 7, "minor": 2, "micro": 0}},
    "query-pci": [],
    "x-query-virtio": [{"path": "/a", "name": "virtio-rng"}],
    "x-query-virtio-queue-status": {"queue-index": 0, "vring-num": 8, "vring-desc": 1},
    "x-query-virtio-status": {
        "device-id": 4,
        "num-vqs": 1,
        "status": {"statuses": ["VIRTIO_CONFIG_S_DRIVER_OK: x"]},
        "guest-features": {"transports": ["VIRTIO_F_VERSION_1: x"]},
        "host-features": {"transports": []},
    },
}


def answering(command: dict[str, Any], **other: Any) -> bytes:
    """The answer of OTHER, or GOOD's: a device with one virtqueue, in slot 3 of the first bus."""
    name, arguments = command["execute"], command["arguments"]
    if name == "qom-get" and name not in other:
        if arguments["property"] == "parent_bus":
            return b'{"return": "/machine/pci.0"}\n'
        if arguments["path"] != "/a":
            return b'{"error": {"desc": "no such property"}}\n'
        return b'{"return": 24}\n'
    if name == "x-query-virtio-queue-status" and arguments["queue"] > 0:
        return b'{"error": {"desc": "Invalid virtqueue number"}}\n'
    return json.dumps({"return": {**GOOD, **other}[name]}).encode() + b"\n"


def test_the_view_of_a_good_qemu(serve: Serve) -> None:
    view = host_view.look(serve(answering))
    assert view.reason is None and view.devices is not None
    (device,) = view.devices
    assert (device.id, device.address, device.status_value) == (4, "0000:00:03.0", 4)
    assert device.sizes == {0: 8}


@pytest.mark.parametrize("name", ["qom-get", *GOOD])
@pytest.mark.parametrize("shape", SHAPES, ids=repr)
def test_an_answer_of_any_shape_gives_a_view_that_can_be_read(
    serve: Serve, name: str, shape: Any
) -> None:
    view = host_view.look(serve(lambda command: answering(command, **{name: shape})))
    assert HostView.from_json(json.loads(json.dumps(view.to_json()))) == view


@pytest.mark.parametrize("member", ["device-id", "num-vqs", "status", "guest-features"])
@pytest.mark.parametrize("shape", SHAPES, ids=repr)
def test_a_status_of_any_shape(serve: Serve, member: str, shape: Any) -> None:
    status = {**GOOD["x-query-virtio-status"], member: shape}  # type: ignore[dict-item]
    other = {"x-query-virtio-status": status}
    view = host_view.look(serve(lambda command: answering(command, **other)))
    assert HostView.from_json(json.loads(json.dumps(view.to_json()))) == view


def test_what_is_known_before_qemu_dies_is_kept(serve: Serve) -> None:
    """QEMU 11.1 aborts on x-query-virtio-status."""

    def dying(command: dict[str, Any]) -> bytes:
        if command["execute"] == "x-query-virtio-status":
            raise OSError
        return answering(command)

    view = host_view.look(serve(dying))
    assert view.reason == "QEMU ended when it was asked"
    assert (view.model, view.devices is not None) == ("QEMU 7.2.0", True)
    (device,) = view.devices or ()
    assert (device.path, device.id, device.sizes) == ("/a", 4, {0: 8})
    assert (device.status, device.status_value, device.features()) == (None, None, (0, ()))


def test_lines_that_were_dropped_are_lost_events(serve: Serve) -> None:
    said: list[str] = []
    line = b'{"kind":"trailer","events":1,"lost":2}\n'
    added = json.loads(host_view.with_host(line, serve(answering), said.append, dropped=3))
    assert (added["lost"], said) == (5, [])
