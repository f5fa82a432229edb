# Every target sets up what it needs in .venv; only Python 3.11 or newer and make have to be there.

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/installed
DOCS_STAMP := $(VENV)/installed-docs
PIP := $(BIN)/python -m pip --disable-pip-version-check
TORCH := $(shell sed -n 's/^torch==/torch==/p' constraints.txt)
# Ordinary PyPI wheels of torch carry CUDA: without a GPU the CPU build is tried first.
CPU_INDEX := https://download.pytorch.org/whl/cpu

.PHONY: help demo test test-fast lint types format docs bench clean

help:
	@echo "make demo    the main job on MovieLens-100K: prepare, pretrain, transfer, evaluate, export"
	@echo "make test    the test suite"
	@echo "make lint    style and formatting; make format mends what it can"
	@echo "make types   mypy, strict"
	@echo "make docs    the generated parts of the pages, and the documentation, to site/"
	@echo "make bench   measured speed ratios"
	@echo "make clean   remove .venv and what the targets wrote"

$(STAMP): pyproject.toml constraints.txt
	@python=; for candidate in python3 python3.13 python3.12 python3.11; do \
		if $$candidate -c 'import sys, ensurepip, venv; sys.exit(sys.version_info < (3, 11))' \
			2>/dev/null; then python=$$candidate; break; fi; done; \
	if [ -z "$$python" ]; then \
		echo "recxfer needs Python 3.11 or newer (with its venv module) on PATH" >&2; exit 1; fi; \
	echo "Setting up $(VENV) with $$($$python --version)"; \
	$$python -m venv $(VENV)
	@$(PIP) install --quiet --upgrade "pip>=25.1"
	@if ! command -v nvidia-smi >/dev/null && ! $(BIN)/python -c 'import torch' 2>/dev/null; then \
		$(PIP) download --quiet --no-deps --dest $(VENV)/torch --retries 0 --timeout 10 \
			--index-url $(CPU_INDEX) "$(TORCH)" >/dev/null 2>&1 \
		&& $(PIP) install --quiet --constraint constraints.txt $(VENV)/torch/*.whl; \
		rm -rf $(VENV)/torch; fi
	@$(PIP) install --quiet --constraint constraints.txt --editable . --group dev
	@touch $@

$(DOCS_STAMP): $(STAMP)
	@$(PIP) install --quiet --constraint constraints.txt --group docs
	@touch $@

demo: $(STAMP)
	@PATH="$(CURDIR)/$(BIN):$$PATH" bash docs/demo.sh demo

# Every process makes a world of its own: work is given out in runs of neighbouring tests.
PYTEST := $(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 --dist worksteal

test: $(STAMP)
	$(PYTEST)

# What trains no run: about half a minute of one core.
FAST := tests/test_floors.py tests/foundation tests/data tests/preparing tests/models \
	$(addprefix tests/evaluation/test_,continual.py metrics.py ranking.py) \
	$(addprefix tests/contracts/test_,backbones.py sources.py) tests/commands/test_prepare.py \
	$(addprefix tests/cli/test_,commands.py content.py prepare_output.py settings.py sources.py)

test-fast: $(STAMP)
	$(PYTEST) -m "not slow" $(FAST)

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: $(STAMP)
	$(BIN)/mypy

docs: $(DOCS_STAMP)
	$(BIN)/python docs/settings.py
	$(BIN)/python docs/tree.py
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

bench: $(STAMP)
	@for script in tests/benchmarks/*_speed.py; do echo "== $$script"; $(BIN)/python $$script || exit 1; done

clean:
	rm -rf $(VENV) demo site
