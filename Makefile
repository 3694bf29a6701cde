# `make demo` shows the main job, `make test` passes the tests, `make simulate SEEDS=1000` breaks whole networks;
# all need git, make and python3-venv only.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SEEDS ?= 1000
FIRST ?= 0

.PHONY: demo test lint types unit simulate dist docker-smoke clean

demo: $(VENV)/installed
	$(BIN)/pledger demo

test: lint types unit

lint: $(VENV)/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/installed
	$(BIN)/mypy --strict ledger node cli

unit: $(VENV)/installed
	$(BIN)/pytest -n 2

simulate: $(VENV)/installed
	$(BIN)/python -m tests.simulator --first $(FIRST) --seeds $(SEEDS) --shrink

# A wheel, and the sdist that it was built from, in dist/.
dist: $(VENV)/installed
	rm -rf dist
	$(BIN)/python -m build --outdir dist

# Three agencies in containers: appends, a kill, a partition, a dossier. Starts Debian's engine where it may.
docker-smoke:
	docker/smoke.sh

$(VENV)/installed: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "pledger needs Python 3.11 or newer; set PYTHON=python3.11 or install it"; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null \
	  || { echo "python3-venv is missing; on Debian: apt install python3-venv"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -e '.[dev]'
	touch $@

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache
