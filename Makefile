# Every target sets up what it needs: a virtual environment, pip, and the CPU build of torch
# where there is no GPU. Only Python 3.11 or newer and make have to be there.

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/installed
PYTHON := $(shell for p in python3.13 python3.12 python3.11 python3; do \
	command -v $$p >/dev/null && $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	&& echo $$p && break; done)
TORCH := $(shell grep '^torch==' constraints.txt)
# Ordinary PyPI wheels of torch carry CUDA: without a GPU the CPU build is tried first.
CPU_INDEX := https://download.pytorch.org/whl/cpu

.PHONY: help demo test lint types format docs bench clean

help:
	@echo "make demo   the main job on MovieLens-100K, set up included"
	@echo "make test   the test suite, set up included"
	@echo "make lint types format docs bench clean"

$(STAMP): pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "recxfer needs Python 3.11 or newer on PATH" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade "pip>=25.1"
	@if ! command -v nvidia-smi >/dev/null; then \
		$(BIN)/python -m pip download --quiet --no-deps --dest $(VENV)/torch \
			--retries 0 --timeout 5 --index-url $(CPU_INDEX) "$(TORCH)" 2>/dev/null \
		&& $(BIN)/python -m pip install --quiet --constraint constraints.txt $(VENV)/torch/*.whl \
		|| true; fi
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable . --group dev
	@rm -rf $(VENV)/torch
	@touch $@

test: $(STAMP)
	$(BIN)/python -m pytest

demo: $(STAMP)
	PATH="$(CURDIR)/$(BIN):$$PATH" bash docs/demo.sh demo

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: $(STAMP)
	$(BIN)/mypy

docs: $(STAMP)
	$(BIN)/python -m pip install --quiet --group docs
	$(BIN)/mkdocs build --strict

bench: $(STAMP)
	$(BIN)/python tests/benchmarks/steps.py

clean:
	rm -rf $(VENV) demo site
