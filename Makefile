# Two commands: `make test` proves it; `make setup` makes the environment alone. Everything lives in .venv.
VENV := .venv
BIN := $(VENV)/bin
PYTHON ?= python3

.PHONY: help setup test lint
help:
	@echo "make setup   make .venv with Rafka and its development tools"
	@echo "make test    lint, types, import contracts and all tests"

setup: $(VENV)/.ready
$(VENV)/.ready: pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	touch $@

lint: setup
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

test: lint
	$(BIN)/python -m pytest -n 2
