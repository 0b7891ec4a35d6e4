# `make run` starts it, `make test` proves it, `make setup` makes the environment alone. Everything lives in .venv.
VENV := .venv
BIN := $(VENV)/bin
PYTHON ?= python3

.PHONY: help setup run lint test bench
help:
	@echo "make run     make .venv with what running needs, and start a broker with its data in ./data"
	@echo "make setup   make .venv with Rafka and its development tools"
	@echo "make bench   Rafka and Apache Kafka side by side, where the load generator is (PEERS=folder)"
	@echo "make test    lint, types, import contracts and all tests"

# The stamps make a second start free: pip runs again only when pyproject.toml has changed.
$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.runs: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --editable .
	touch $@

$(VENV)/.ready: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	touch $(VENV)/.runs $@

setup: $(VENV)/.ready

run: $(VENV)/.runs
	@exec $(BIN)/rafka run --data-dir ./data

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
