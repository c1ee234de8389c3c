# SPDX-License-Identifier: GPL-2.0-or-later
"""Kernels from Debian: the mirror, suites, packages, and the kernel in them."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from virtio_trace.errors import BadInputError, CannotTraceError, UsageError
from virtio_trace.vm.host import apt, cache, debian, mirror
from virtio_trace.vm.host.programs import quiet

NONE = "$(SIGNED_BY)|$(TRUSTED)"


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def test_the_mirror_is_the_machines_own() -> None:
    found = mirror.parse_mirror(
        "http://other.example/apt|nodistro|$(SIGNED_BY)|yes\n"
        "http://m.example/debian/|bookworm|/usr/share/keyrings/d.gpg|$(TRUSTED)\n"
        f"http://m.example/debian/|bookworm-updates|{NONE}\n"
        f"http://s.example/sec/|bookworm-security|{NONE}\n"
    )
    assert found.archive == "http://m.example/debian/"
    assert found.security == "http://s.example/sec/"
    assert found.options == "Signed-By: /usr/share/keyrings/d.gpg\n"
    text = found.sources("trixie")
    assert "URIs: http://s.example/sec/\nSuites: trixie-security\n" in text
    assert "URIs: http://m.example/debian/\nSuites: trixie\n" in text
    assert text.count("Signed-By:") == 3


def test_without_a_security_entry_security_is_left_out() -> None:
    found = mirror.parse_mirror(f"http://m.example/debian/|stable|{NONE}\n")
    assert found.security is None
    assert "security" not in found.sources("bookworm")
    assert "Suites: bookworm-updates" in found.sources("bookworm")


def test_a_machine_with_no_debian_archive_is_told_so() -> None:
    with pytest.raises(CannotTraceError, match="no entry for a Debian archive") as caught:
        mirror.parse_mirror(f"http://u.example/ubuntu/|jammy|{NONE}\n")
    assert "--kernel" in caught.value.hint


@pytest.mark.parametrize(
    ("suite", "expected"),
    [
        ("bookworm", ("bookworm", "bookworm-updates", "bookworm-security")),
        ("sid", ("sid",)),
        ("trixie-backports", ("trixie-backports",)),
        ("bookworm-security", ("bookworm-security",)),
    ],
)
def test_a_release_comes_with_its_updates(suite: str, expected: tuple[str, ...]) -> None:
    assert mirror.family(suite) == expected


def test_a_stanza_gives_the_first_alternative_of_each_dependency() -> None:
    found = apt.parse_package(
        "Package: linux-image-x\nVersion: 6.1.1-1\n"
        "Depends: kmod, linux-base (>= 4.3~), initramfs-tools (>= 0.1) | dracut, a:any (= 1)\n"
        "Description: x\n\nPackage: other\nVersion: 2\n"
    )
    assert found == apt.Package(
        "linux-image-x", "6.1.1-1", ("kmod", "linux-base", "initramfs-tools", "a")
    )
    assert apt.parse_package("") is None


@pytest.mark.parametrize(
    "text", ["", "a", "Linux", "x y", "name/", "name/su ite", "-x", "../etc/x"]
)
def test_what_is_no_package_name(text: str) -> None:
    with pytest.raises(UsageError):
        debian.parse(text)


def test_name_and_suite() -> None:
    assert debian.parse("linux-image-cloud-amd64") == ("linux-image-cloud-amd64", None)
    assert debian.parse("linux-image-6.1/trixie-backports") == (
        "linux-image-6.1",
        "trixie-backports",
    )


class FakeSuite(apt.Suite):
    """A suite with given packages, so that no apt runs."""

    def __init__(self, packages: dict[str, tuple[str, ...]]) -> None:
        self.packages = packages

    def show(self, name: str) -> apt.Package | None:
        depends = self.packages.get(name)
        return None if depends is None else apt.Package(name, "1", depends)


def test_a_metapackage_leads_to_every_part_of_its_kernel() -> None:
    """The layout from 7.2 on, with a cycle and with packages that are not part of the kernel."""
    suite = FakeSuite(
        {
            "linux-image-cloud": ("linux-base-cloud", "linux-image-7-c", "kmod"),
            "linux-base-cloud": ("linux-base-7-c",),
            "linux-base-7-c": (),
            "linux-image-7-c": ("linux-binary-7-c", "linux-modules-7-c", "linux-base"),
            "linux-binary-7-c": ("linux-modules-7-c",),
            "linux-modules-7-c": ("linux-image-7-c",),
            "linux-base": (),
            "kmod": (),
        }
    )
    first = suite.show("linux-image-cloud")
    assert first is not None
    assert {part.name for part in debian.closure(suite, first)} == {
        *("linux-image-cloud", "linux-base-cloud", "linux-base-7-c", "linux-image-7-c"),
        *("linux-binary-7-c", "linux-modules-7-c"),
    }


class Mirror(apt.Suite):
    """A suite that lists three versions; the mirror has only the oldest."""

    name = "suite"
    fetched = 0.0

    def __init__(self) -> None:
        self.updates = 0

    @property
    def age(self) -> float:
        return time.time() - self.fetched

    def refresh(self, _progress: object, _fresh: float = 0.0) -> None:
        self.fetched = time.time()
        self.updates += 1

    def versions(self, name: str) -> list[apt.Package]:
        return [apt.Package(name, version, ()) for version in ("3", "2", "1")]

    def download(self, package: apt.Package, into: Path, _progress: object) -> Path:
        if package.version != "1":
            raise apt.GoneError(f"no {package.version}")
        return into / "x.deb"


def test_what_the_mirror_lists_and_has_not_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    def unpack(suite: apt.Suite, first: apt.Package, _: object) -> tuple[str, debian.KernelPackage]:
        deb = suite.download(first, Path(), quiet)
        return "key", debian.KernelPackage(first.name, first.version, "r", deb, deb)

    monkeypatch.setattr(debian, "_unpack", unpack)
    mirror = Mirror()
    _, kernel = debian._newest(mirror, "linux-image-x", quiet)
    assert kernel.version == "1"
    assert kernel.note == "no 3; using linux-image-x 1"
    assert mirror.updates == 1  # the old index was fetched again, once


def kernel_tree(tree: Path, modules: str, image: str) -> Path:
    (tree / modules / "kernel").mkdir(parents=True)
    (tree / image).parent.mkdir(parents=True, exist_ok=True)
    (tree / image).write_bytes(b"kernel")
    return tree


def test_both_layouts_of_a_kernel_are_found(tmp_path: Path) -> None:
    old = kernel_tree(tmp_path / "old", "lib/modules/6.1-x", "boot/vmlinuz-6.1-x")
    new = kernel_tree(tmp_path / "new", "usr/lib/modules/7.2-x", "usr/lib/modules/7.2-x/vmlinuz")
    assert debian.locate(old, "p", "1").vmlinuz == old / "boot/vmlinuz-6.1-x"
    found = debian.locate(new, "p", "1")
    assert (found.release, found.modules) == ("7.2-x", new / "usr/lib/modules/7.2-x")
    assert found.vmlinuz == new / "usr/lib/modules/7.2-x/vmlinuz"


def test_a_package_that_is_no_kernel_is_bad_input(tmp_path: Path) -> None:
    (tmp_path / "usr/share/doc").mkdir(parents=True)
    with pytest.raises(BadInputError, match="no bootable kernel"):
        debian.locate(tmp_path, "linux-doc", "1")


def remembered(age: float) -> None:
    """A kernel in the cache that was requested AGE seconds ago."""
    kernel_tree(cache.root() / "kernels/k_1", "lib/modules/6.1-x", "boot/vmlinuz-6.1-x")
    record = cache.root() / "apt/resolved/linux-image-x@bookworm.json"
    value = {"at": time.time() - age, "key": "k_1", "package": "linux-image-x", "version": "1"}
    cache.write_json(record, value)


def offline(*_: object) -> None:
    raise CannotTraceError("no network")


def test_a_filled_cache_needs_no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(debian, "_resolve", offline)
    remembered(age=100)
    assert debian.fetch("linux-image-x/bookworm", quiet).note == ""


def test_an_old_answer_is_taken_when_the_mirror_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(debian, "_resolve", offline)
    remembered(age=apt.FRESH + 100)
    found = debian.fetch("linux-image-x/bookworm", quiet)
    assert found.release == "6.1-x"
    assert "no network" in found.note


def test_without_cache_and_network_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(debian, "_resolve", offline)
    with pytest.raises(CannotTraceError, match="no network"):
        debian.fetch("linux-image-x/bookworm", quiet)


def test_kernels_do_not_pile_up() -> None:
    remembered(age=1)
    for number in range(debian.KEPT + 3):
        (cache.root() / "kernels" / f"new{number}").mkdir()
    debian._prune()
    assert len(list((cache.root() / "kernels").iterdir())) == debian.KEPT
    assert not (cache.root() / "kernels" / "k_1").exists()


def test_a_name_is_no_pattern(monkeypatch: pytest.MonkeyPatch) -> None:
    """apt-cache show 7.x shows libgm2-17-x32-cross."""
    shown = "Package: libgm2-17-x32-cross\nVersion: 12\n\nPackage: linux\nVersion: 6.1\n"
    done = subprocess.CompletedProcess([], 0, shown, "")
    monkeypatch.setattr(apt, "run", lambda *_args, **_more: done)
    suite: Any = SimpleNamespace(_conf="apt.conf", name="sid")
    assert apt.Suite.versions(suite, "7.x") == []
    assert [package.name for package in apt.Suite.versions(suite, "linux")] == ["linux"]
