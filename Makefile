# Two commands: `make run` (the demo world, loopback only) and `make test` (everything).
# Each sets up what it needs first. PYTHON= chooses the interpreter, ARGS= goes to the command.

PYTHON ?= python3
ARGS ?=
VENV := .venv
BIN := $(VENV)/bin
UV := $(shell command -v uv 2>/dev/null)

.PHONY: help setup run serve test check deps lock chart bench torture long docs clean
.DEFAULT_GOAL := help

help: ## list these targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | sort | awk -F'\t' '{printf "  make %-9s %s\n", $$1, $$2}'

define python-check
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	  || { echo "stanch needs Python 3.11 or newer; choose one with: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null \
	  || { echo "this Python has no venv; on Debian or Ubuntu: apt install python3-venv" >&2; exit 1; }
endef

ifeq ($(UV),)
create-venv = $(PYTHON) -m venv $(VENV)
install-lock = $(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $(1)
install-self = $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
else
create-venv = $(UV) venv --quiet --allow-existing --python $(PYTHON) $(VENV)
install-lock = VIRTUAL_ENV=$(VENV) $(UV) pip install --quiet --require-hashes -r $(1)
install-self = VIRTUAL_ENV=$(VENV) $(UV) pip install --quiet --no-deps --no-build-isolation --editable .
endif

$(VENV)/.run: requirements.lock pyproject.toml
	$(python-check)
	@echo "setting up $(VENV) (once; about half a minute)"
	@$(create-venv)
	@$(call install-lock,requirements.lock)
	@$(install-self)
	@touch $@

$(VENV)/.dev: requirements-dev.lock $(VENV)/.run
	@echo "adding the test parts to $(VENV) (once)"
	@$(call install-lock,requirements-dev.lock)
	@touch $@

setup: $(VENV)/.run ## build .venv from the lock

run: $(VENV)/.run ## the demo world: an incident from alert to resolved, on loopback (ARGS=--yes approves)
	@$(BIN)/stanch demo $(ARGS)

serve: $(VENV)/.run ## the real thing; needs its cluster named, see docs/quickstart.md
	@$(BIN)/stanch serve $(ARGS)

test: $(VENV)/.dev ## the whole suite, real PostgreSQL included
	@$(BIN)/python -m pytest -n 2 --dist loadgroup -m "not long" $(ARGS)

long: $(VENV)/.dev ## the suite with everything that takes minutes
	@$(BIN)/python -m pytest $(ARGS)

check: $(VENV)/.dev ## types, style and import contracts
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

deps: ## the real parts below .deps: Prometheus, Alertmanager and wrk from Debian, Helm and what checks the chart
	@sh tests/parts/install-debian-parts.sh
	@PYTHON=$(PYTHON) sh tests/parts/install-chart-parts.sh

chart: $(VENV)/.run ## make the chart's Roles, admission policies and table of values anew
	@$(BIN)/python deploy/helm/chart_files.py

bench: $(VENV)/.dev ## the speed table: ratios measured in one run
	@$(BIN)/python -m receiver.trials.bench $(ARGS)

torture: $(VENV)/.dev ## kill -9 at every place of every remediation, and at random
	@$(BIN)/python -m pytest -m long tests/acceptance/test_torture.py $(ARGS)

docs: $(VENV)/.run ## make the README's picture anew from a run of the demo
	@$(BIN)/python -m receiver.trials.picture

lock: ## write both locks anew (needs uv)
	$(UV) pip compile pyproject.toml --extra build --extra traces --universal --no-strip-extras --generate-hashes --no-header --no-annotate -q -o requirements.lock
	$(UV) pip compile pyproject.toml --all-extras --universal --no-strip-extras --generate-hashes --no-header --no-annotate -q -c requirements.lock -o requirements-dev.lock
	for part in uv helm tools checkov; do \
	  if [ $$part = helm ]; then alone=--no-deps; else alone=; fi; \
	  $(UV) pip compile tests/parts/chart/$$part.in $$alone --universal --python-version 3.11 --no-strip-extras --generate-hashes --no-header --no-annotate -q -o tests/parts/chart/$$part.lock || exit 1; \
	done

clean: ## remove what set-up and tests made
	rm -rf $(VENV) .deps .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage dist
