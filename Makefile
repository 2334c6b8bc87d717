# shortsdb: `make upgrade` and `make test` do all the set-up that they need.

# PYTHON=python3.13 uses that interpreter and SQLALCHEMY=2.0 that line of SQLAlchemy, each in a virtual
# environment of its own: .venv, .venv-py3.13, .venv-2.0 or .venv-py3.13-2.0.
PYTHON ?= python3
SQLALCHEMY ?=
PYTHON_VERSION := $(if $(filter-out python3,$(PYTHON)),$(shell $(PYTHON) -c 'import sys; print("-py%d.%d" % sys.version_info[:2])'))
VENV ?= .venv$(PYTHON_VERSION)$(SQLALCHEMY:%=-%)
BIN := $(VENV)/bin

# A process per core. The other set is what tests/conftest.py marks as slow.
PYTEST := $(BIN)/python -m pytest -n auto --dist worksteal
QUICK := not (browser or crash or pages or peers or postgresql or release)

# Only for apt-get.
SUDO := $(if $(filter 0,$(shell id -u)),,sudo)

.DEFAULT_GOAL := help
.PHONY: help upgrade test test-all release-check system-packages torture failover mutants bench lint generate clean

help: ## List the targets.
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "%-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

upgrade: $(VENV)/.installed ## Upgrade the database in SHORTSDB_URL (default: ./shortsdb.db) to head.
	$(BIN)/alembic upgrade head

test: lint ## Run lint and the quick tests, in about four minutes. PYTHON= and SQLALCHEMY= choose versions.
	$(PYTEST) -m "$(QUICK)"

test-all: lint ## Run lint and every test.
	$(PYTEST)

release-check: $(VENV)/.installed-dev ## Build the package, check it, and install and use it away from the checkout.
	$(BIN)/python tools/release_check.py

# The real sqlite3 program and PostgreSQL server, strace for the kills, curl for the pages' commands,
# systemd for the documented units, setfacl for access lists, a pooler before PostgreSQL, and a browser
# for the console, with a font for the Japanese in its pictures. Ubuntu has no such package, but GitHub's
# runners have the browser.
BROWSER := $(if $(shell which chromium chromium-browser google-chrome 2>/dev/null),,chromium)
SYSTEM_PACKAGES := sqlite3 strace curl systemd acl pgbouncer postgresql fonts-ipafont-gothic $(BROWSER)

system-packages: ## Install what the tests need from Debian or Ubuntu.
	$(SUDO) apt-get update -qq
	$(SUDO) env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq $(SYSTEM_PACKAGES)

torture: $(VENV)/.installed-dev ## Kill, starve and unplug upgrades at every point, and print the figures; needs strace.
	$(BIN)/python tests/crash/run.py

# Patroni, etcd and three PostgreSQL nodes on loopback, from Debian's packages.
failover: $(VENV)/.installed-dev ## Have a cluster fail over ten times while others write and migrate; needs patroni and etcd-server.
	$(BIN)/python tests/crash/failover.py

# MODULES="sqlite/backup engine" SAMPLE=12 tries twelve mutants of each of these modules; RETRY=1 the survivors again.
mutants: $(VENV)/.installed-dev ## Make small mistakes in the modules that keep promises, one at a time, and list those that no test notices; hours.
	$(BIN)/python tools/mutants.py $(MODULES) $(SAMPLE:%=--sample %) $(RETRY:%=--retry)

bench: $(VENV)/.installed-dev ## Measure beside what else one would use, and write benchmarks/RESULTS.md; an hour.
	$(BIN)/python benchmarks/run_all.py

lint: $(VENV)/.installed-dev ## Run ruff and mypy, lint new revisions, and check the files of .github/.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python tools/lint_revisions.py
	$(BIN)/check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml
	$(BIN)/check-jsonschema --builtin-schema custom.github-workflows-require-timeout .github/workflows/*.yml
	$(BIN)/check-jsonschema --builtin-schema vendor.github-issue-config .github/ISSUE_TEMPLATE/config.yml
	$(BIN)/check-jsonschema --builtin-schema vendor.github-issue-forms $(filter-out %/config.yml,$(wildcard .github/ISSUE_TEMPLATE/*.yml))

generate: $(VENV)/.installed-dev ## Rewrite all that is generated, after a change of the models or the pages: golden DDL, pages and their outputs, repositories.
	$(BIN)/python tools/generate.py

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
