# Two commands for a fresh machine with Python 3.11 or newer: `make demo` and `make test`.
# Others: `make check` (linters and types), `make slow` (long tests), `make clean`.
VENV     ?= .venv
PY       ?= python3
PIP_ARGS ?=
DEMO_ARGS ?=
ENV := $(VENV)/.ok
BIN := $(VENV)/bin

.PHONY: demo test slow check clean

demo: $(ENV)
	$(BIN)/spinefx demo demo $(DEMO_ARGS)

test: $(ENV)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n 2 --dist worksteal

slow: $(ENV)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n 2 -m slow

check: $(ENV)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

clean:
	rm -rf $(VENV) .ci-venv build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis

# Installed again only when what it depends on has changed, so that a second run needs no network.
$(ENV): pyproject.toml constraints.txt
	$(PY) -c 'import sys; sys.exit("spinefx needs Python 3.11 or newer, found " + sys.version.split()[0] if sys.version_info < (3, 11) else 0)'
	$(PY) -m venv $(VENV)
	$(BIN)/python -m pip install -q -c constraints.txt $(PIP_ARGS) -e '.[test]'
	@touch $@
