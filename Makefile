# `make up` and `make test` are all that a newcomer needs; each first sets up what is missing.
SHELL := /bin/bash
PYTHON ?= python3
# One more than two processors, because a third of the time is waiting; what starts a platform of its own needs a gigabyte.
# In the order of their files: the kinds that take long
# come before the many that do not, so that no worker is left alone with one at the end.
WORKERS ?= 3
BIN := .venv/bin
UV := $(BIN)/uv
PACKAGES := libs/contracts libs/kit libs/client services/gateway services/executor services/llm-proxy \
            services/sandbox services/memory frontend cli
MANIFESTS := $(addsuffix /pyproject.toml,$(PACKAGES))
# uv keeps to what the machine trusts, as pip does.
export UV_SYSTEM_CERTS := true
INSTALL := $(UV) pip install --quiet --python $(BIN)/python --no-deps

.PHONY: help install up down test check format lock protos bench clean
.DEFAULT_GOAL := help

help: ## Show this list
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

install: .venv/.local ## Set up what is missing, without starting anything

up: .venv/.local ## Set up what is missing and start the platform; Ctrl-C stops it
	@$(BIN)/cadre up $(ARGS)

down: ## Stop the platform
	@if [ -x $(BIN)/cadre ]; then $(BIN)/cadre down; else echo "Nothing is installed here, so nothing runs."; fi

test: .venv/.dev ## Set up what is missing and run the tests; ARGS are pytest's
	@$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder $(ARGS)

check: .venv/.dev ## Style, types, protos and import rules
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy libs services frontend cli tests benchmarks
	$(BIN)/buf lint protos
	$(BIN)/lint-imports

format: .venv/.dev ## Format and mend what can be mended by itself
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

protos: .venv/.dev ## Generate libs/contracts from protos/
	@$(BIN)/python protos/generate.py libs/contracts/src

lock: $(UV) ## Resolve requirements/ anew, as far as the files written before allow
	@requirements/lock.sh

bench: .venv/.dev ## Run the benchmarks; each prints ratios against a baseline of the same run
	@$(BIN)/python -m benchmarks $(ARGS)

clean: ## Remove the virtual environment and caches, never data
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .import_linter_cache

$(UV): requirements/bootstrap.txt
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || \
	    { echo "Cadre needs Python 3.11, 3.12 or 3.13; set PYTHON=/path/to/python3.11"; exit 2; }
	@echo "Setting up .venv"
	@$(PYTHON) -m venv .venv || { echo "Install the venv module first: apt-get install python3-venv"; exit 2; }
	@$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements/bootstrap.txt
	@touch $@

.venv/.local: requirements/local.txt $(MANIFESTS) $(UV)
	@echo "Installing the platform's packages (some 600 MB; the first time takes a minute or two)"
	@$(INSTALL) --require-hashes -r requirements/local.txt
	@$(INSTALL) $(addprefix -e ,$(PACKAGES))
	@touch $@

.venv/.dev: requirements/dev.txt .venv/.local
	@echo "Installing what the tests need"
	@$(INSTALL) --require-hashes -r requirements/dev.txt
	@touch $@
