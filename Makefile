# shortsdb: `make upgrade` and `make test` do all the set-up that they need.

PYTHON ?= python3
# SQLALCHEMY=2.0 tests against that line of SQLAlchemy, in a virtual environment of its own.
SQLALCHEMY ?=
VENV ?= .venv$(SQLALCHEMY:%=-%)
BIN := $(VENV)/bin

.DEFAULT_GOAL := help
.PHONY: help upgrade test torture bench lint golden docs shown clean

help: ## List the targets.
	@awk -F ':.*## ' '/^[a-z]+:.*## /{printf "%-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

upgrade: $(VENV)/.installed ## Upgrade the database in SHORTSDB_URL (default: ./shortsdb.db) to head.
	$(BIN)/alembic upgrade head

test: lint ## Run every check: ruff, mypy and pytest. SQLALCHEMY=2.0 takes that line of it.
	$(BIN)/python -m pytest

torture: $(VENV)/.installed-dev ## Kill, starve and unplug upgrades at every point, and print the figures; needs strace.
	$(BIN)/python tests/torture/run.py

bench: $(VENV)/.installed-dev ## Measure beside what else one would use, and write benchmarks/RESULTS.md; half an hour.
	$(BIN)/python benchmarks/run_all.py

lint: $(VENV)/.installed-dev ## Run ruff and mypy.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

golden: $(VENV)/.installed-dev ## Write the golden DDL files anew, after a change of the schema.
	$(BIN)/python tests/golden.py

docs: $(VENV)/.installed-dev ## Write docs/api.md, docs/schema.md and README's figures anew, after a change of what they are made from.
	$(BIN)/python tests/generated_docs.py

shown: $(VENV)/.installed-dev ## Run the commands that the pages show, and write their outputs anew.
	$(BIN)/python tests/shown_commands.py

clean: ## Remove the virtual environments and all caches; databases stay.
	rm -rf .venv .venv-* .mypy_cache .ruff_cache build dist

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

# The extra `async` and `postgres` are for who needs them; SQLite needs neither.
$(VENV)/.installed: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet -e .
	touch $@

$(VENV)/.installed-dev: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet -e '.[dev]' $(SQLALCHEMY:%='sqlalchemy==%.*')
	touch $@ $(VENV)/.installed
