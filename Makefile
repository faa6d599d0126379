# Everything runs from here, on a bare machine: each target does its own set-up.
# `make demo` shows the system at work, `make up` leaves it running, `make test` proves it.

SHELL := /bin/bash
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.SUFFIXES:
MAKEFLAGS += --no-builtin-rules

# Without compiled modules every process of the system would start two seconds later.
unexport PYTHONDONTWRITEBYTECODE
unexport PYTHONPATH
unexport VIRTUAL_ENV

VENV := .venv
PYTHON := $(VENV)/bin/python
PYTEST := $(PYTHON) -m pytest
STAMP := $(VENV)/.installed
TYPED := app workers infra bench tests
LOCK_GROUP := uv pip compile --quiet --universal --generate-hashes --no-annotate --no-header \
	--no-emit-index-url --python-version 3.11
LOCK := $(LOCK_GROUP) pyproject.toml
NAME ?=
SEED ?= 1
JOBS ?= 10000
FAULTS ?=
BREAK ?=
ONLY ?=
SECONDS ?= 60
# Tests run side by side, a file at a time, and each process has servers of its own. Half of a test's time is
# waiting, so there are more of them than cores.
PROCESSES ?= $(shell cores=$$(getconf _NPROCESSORS_ONLN); echo $$(( cores < 5 ? cores + 1 : 6 )))

.PHONY: help demo up down test lint contracts chaos incidents bench fuzz local-ai lock clean

help: ## Show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 10

demo: $(STAMP) ## Start everything, import a sample CSV, show what happened, stop everything
	@$(PYTHON) -m infra.local demo

up: $(STAMP) ## Run the whole system until Ctrl-C
	@exec $(PYTHON) -m infra.local up

down: $(STAMP) ## Stop what runs in this checkout, and end what a crash left
	@$(PYTHON) -m infra.local down

test: $(STAMP) ## Run the whole test suite against real servers
	@$(PYTEST) tests --numprocesses $(PROCESSES) --dist loadfile --no-loadscope-reorder $(ARGS)

lint: $(STAMP) ## Style, strict types, import contracts
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/ruff format --check .
	@$(PYTHON) -m mypy --strict $(wildcard $(TYPED))
	@$(VENV)/bin/lint-imports

contracts: $(STAMP) ## Record contracts whose version is new: their shape, and a golden message
	@$(VENV)/bin/millrace contracts record

chaos: $(STAMP) ## Strike the running system with faults and check its books; SEED=7 JOBS=1000 BREAK=fence
	@$(PYTHON) -m tests.chaos --seed $(SEED) --jobs $(JOBS) $(if $(FAULTS),--faults $(FAULTS)) \
		$(if $(BREAK),--break $(BREAK))

incidents: $(STAMP) ## Make faults in the running system, see their alerts fire, and end them by their runbooks; ONLY="a leak"
	@$(PYTHON) -m tests.incidents --only "$(ONLY)"

fuzz: $(STAMP) ## Feed the reader of tables with what breaks readers; SECONDS=3600
	@$(PYTHON) -m tests.fuzz --seconds $(SECONDS)

local-ai: $(STAMP) ## Install the local embedding model beside the environment, and test it
	@library=$$($(PYTHON) -c 'from infra.local.locked import packages; print(packages("local-ai"))' | tail -n 1) \
		&& PYTHONPATH=$$library $(PYTEST) -q tests/unit/test_ai_local_model.py

bench: $(STAMP) ## Run the paired benchmarks; NAME=import runs one
	@$(PYTHON) -m bench $(NAME)

lock: $(STAMP) ## Pin every dependency again, with hashes
	@$(VENV)/bin/$(LOCK) --all-extras --group flower -o requirements/dev.txt
	@$(VENV)/bin/$(LOCK) --extra web -c requirements/dev.txt -o requirements/web.txt
	@$(VENV)/bin/$(LOCK) --extra worker -c requirements/dev.txt -o requirements/worker.txt
	@$(VENV)/bin/$(LOCK_GROUP) --group flower -c requirements/dev.txt -o requirements/flower.txt
	@$(VENV)/bin/$(LOCK_GROUP) --group bench -o requirements/bench.txt
	@$(VENV)/bin/$(LOCK_GROUP) --group local-ai -c requirements/dev.txt -o requirements/local-ai.txt
	@$(VENV)/bin/$(LOCK_GROUP) --group fuzz -o requirements/fuzz.txt
	@$(VENV)/bin/$(LOCK_GROUP) --group peers -c requirements/dev.txt -o requirements/peers.txt
	@if command -v npm >/dev/null; then cd requirements/peers && npm install --package-lock-only --ignore-scripts --no-audit \
		--no-fund --loglevel=error; else echo "npm is missing: requirements/peers/package-lock.json stays as it is"; fi

clean: ## Stop everything and delete what was made here: environment, data, caches
	@if [ -x $(PYTHON) ]; then $(PYTHON) -m infra.local down; fi
	rm -rf $(VENV) .local .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache \
		bench/out build *.egg-info

$(STAMP): requirements/bootstrap.txt requirements/dev.txt pyproject.toml infra/local/install.sh
	@infra/local/install.sh $(VENV)
	@touch $@
