# Two commands for a fresh machine with Python 3.11 or newer: `make demo` and `make test`.
# Then `make serve` opens the web app on the demo's workspace. Others: `make check` (linters and types), `make slow`
# (long tests), `make docs` (the documentation site), `make oldest` and `make newest` (the tests with the oldest
# dependencies allowed, and with the newest), `make sbom` and `make vulnerabilities` (the dependencies), `make clean`.
VENV        ?= .venv
PY          ?= python3
PIP_ARGS    ?=
PYTEST_ARGS ?=
CONSTRAINTS ?= constraints.txt
DEMO_ARGS   ?=
WORKSPACE   ?= demo/study
ENV := $(VENV)/.ok
BIN := $(VENV)/bin

.PHONY: demo serve test slow check docs oldest newest sbom vulnerabilities clean

demo: $(ENV)
	$(BIN)/spinefx demo demo $(DEMO_ARGS)

# Another workspace: make serve WORKSPACE=path
serve: $(ENV)
	$(BIN)/spinefx serve $(WORKSPACE)

test: $(ENV)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n 2 --dist worksteal $(PYTEST_ARGS)

slow: $(ENV)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n 2 -m slow

check: $(ENV)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# The pages land in site/; any web server shows them: python3 -m http.server -d site
docs: $(VENV)/.docs-ok
	$(BIN)/python docs/build_site.py

# The whole suite with the lowest version of everything that pyproject.toml names. PyTorch keeps the version of
# constraints.txt, because the registry has older ones as CUDA builds only. Old packages call newer ones by names that
# those announce to drop, which is not our warning to heed. Another Python: make newest PY=python3.13.
oldest: build/oldest.txt
	$(MAKE) test VENV=.oldest-venv CONSTRAINTS=build/oldest.txt \
	  PYTEST_ARGS='-W default::DeprecationWarning -W default::PendingDeprecationWarning'

# And with whatever the registry offers today.
newest:
	$(MAKE) test VENV=.newest-venv CONSTRAINTS=/dev/null

build/oldest.txt: pyproject.toml constraints.txt .tools-venv/.ok
	mkdir -p build
	.tools-venv/bin/uv pip compile -q pyproject.toml --extra test --resolution lowest-direct --no-header --no-annotate -o build/lowest.txt
	{ grep -Ev '^(torch|nvidia|triton)' build/lowest.txt; grep '^torch==' constraints.txt; } > $@

# A list of every installed package with version and licence (CycloneDX): sbom.json
sbom: $(ENV) .tools-venv/.ok
	.tools-venv/bin/cyclonedx-py environment --output-reproducible --output-file sbom.json $(BIN)/python

# Known vulnerabilities of the pinned versions; fails where the database cannot be reached.
vulnerabilities: .tools-venv/.ok
	.tools-venv/bin/pip-audit --strict --disable-pip --no-deps --progress-spinner off --requirement constraints.txt

clean:
	rm -rf $(VENV) .ci-venv .tools-venv .oldest-venv .newest-venv build dist site .cache .pytest_cache .mypy_cache .ruff_cache .hypothesis

# Installed again only when what it depends on has changed, so that a second run needs no network.
$(ENV): pyproject.toml $(CONSTRAINTS)
	$(PY) -c 'import sys; sys.exit("spinefx needs Python 3.11 or newer, found " + sys.version.split()[0] if sys.version_info < (3, 11) else 0)'
	$(PY) -m venv $(VENV)
	$(BIN)/python -m pip install -q -c $(CONSTRAINTS) $(PIP_ARGS) -e '.[test]'
	@touch $@

$(VENV)/.docs-ok: $(ENV)
	$(BIN)/python -m pip install -q -c $(CONSTRAINTS) $(PIP_ARGS) -e '.[docs]'
	@touch $@

.tools-venv/.ok: Makefile
	$(PY) -m venv .tools-venv
	.tools-venv/bin/python -m pip install -q cyclonedx-bom==7.5.0 pip-audit==2.10.1 uv==0.13.9
	@touch $@
