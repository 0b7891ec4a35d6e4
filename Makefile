# `make run` starts it, `make test` proves it, `make setup` makes the environment alone. Everything lives in .venv.
# What is printed on standard output by `make run` is the broker's one line; the rest goes to standard error.
VENV := .venv
BIN := $(VENV)/bin
PYTHON ?= python3
ARGS ?=

.PHONY: help setup run lint test bench sim
help:
	@echo "make run     make .venv with what running needs, and start a broker with its data in ./data"
	@echo "             ARGS='--listen 0.0.0.0:9092' and the like are passed on to 'rafka run'"
	@echo "make setup   make .venv with Rafka and its development tools"
	@echo "make bench   Rafka and Apache Kafka side by side, where the load generator is (PEERS=folder)"
	@echo "make sim     simulate some hundred seeds that the newest commit chooses (SEEDS=300)"
	@echo "make test    lint, types, import contracts and all tests"

# A venv without pip (Debian without python3-venv) must not be taken for one the next time.
$(BIN)/python:
	@echo "making $(VENV)" >&2
	@$(PYTHON) -m venv $(VENV) >&2 || { rm -rf $(VENV); exit 1; }

# The stamps make a second start free: pip runs again only when pyproject.toml has changed.
$(VENV)/.runs: pyproject.toml | $(BIN)/python
	@echo "installing what running needs into $(VENV)" >&2
	@$(BIN)/python -m pip install --quiet --editable . >&2
	@$(BIN)/python -m compileall -q rafka >&2
	@touch $@

$(VENV)/.ready: pyproject.toml | $(BIN)/python
	@echo "installing what running and developing need into $(VENV)" >&2
	@$(BIN)/python -m pip install --quiet --editable '.[dev]' >&2
	@$(BIN)/python -m compileall -q rafka >&2
	@touch $(VENV)/.runs $@

setup: $(VENV)/.ready

run: $(VENV)/.runs
	@exec $(BIN)/rafka run --data-dir ./data $(ARGS)

lint: setup
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

test: lint
	$(BIN)/python -m pytest -n 2

# The load generator and the other broker are no part of this project: PEERS says where they are.
PEERS ?= ../shared/peers
BENCH ?= --flush os
bench: setup
	$(BIN)/python bench/peers.py --peers $(PEERS) $(BENCH)

# Every commit has seeds of its own; the command that is printed runs them again, anywhere.
SEEDS ?= 300
sim: setup
	@first=$$(printf '%d' 0x$$(git rev-parse --short=6 HEAD 2>/dev/null || echo 1)); \
	last=$$((first + $(SEEDS) - 1)); \
	echo "rafka sim --seeds $$first..$$last --jobs 2"; \
	$(BIN)/rafka sim --seeds $$first..$$last --jobs 2
