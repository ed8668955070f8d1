PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: venv demo check test test-frameworks fuzz soak bench format clean

venv: $(STAMP)

$(STAMP): pyproject.toml setup.py $(wildcard tokens/csrc/*.[ch]) $(wildcard analyzer/csrc/*.[ch]) $(wildcard ingest/csrc/*.[ch])
	@$(PYTHON) -c 'import sys, venv, ensurepip, sysconfig, pathlib; \
	  sys.exit(sys.version_info < (3, 11) or not pathlib.Path(sysconfig.get_path("include"), "Python.h").exists())' \
	  2>/dev/null && command -v cc >/dev/null || { \
	  echo "make: this needs a C compiler and Python >= 3.11 with headers and venv (Debian: apt-get install gcc python3-dev python3-venv)" >&2; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/pip install --quiet --disable-pip-version-check --upgrade "pip>=25.1" "setuptools>=77"
	$(BIN)/pip install --quiet --disable-pip-version-check --editable ".[all]" --group dev
	@touch $@

demo: venv
	@$(BIN)/inferometer demo --out audit.html

format: venv
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

check: venv
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/lint-imports
	$(BIN)/mypy
	$(BIN)/python tools/check_docs.py
	$(BIN)/python tools/check_build.py

test: check
	$(BIN)/pytest -n 2

# Real frameworks, one environment each below .venvs/; continuous integration runs the core ones.
test-frameworks: venv
	$(BIN)/python tools/test_frameworks.py $(FRAMEWORKS)

# Bounded, but too long for every commit.
fuzz: venv
	$(BIN)/python tools/fuzz_tokens.py --strings 1000000

soak: venv
	$(BIN)/python tools/soak_sidecar.py --rounds 20

bench: venv
	@for script in benchmarks/*.py; do echo "== $$script"; $(BIN)/python $$script || exit 1; done

clean:
	rm -rf build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache src/*.egg-info
