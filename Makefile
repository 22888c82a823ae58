# Everything from a clean clone, with git, make and Python 3.11 only.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: demo test lint types bench histories ui lock docs-shots clean

$(STAMP): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	  || { echo "Python 3.11 or newer with venv is needed. Install it, or say where it is: make PYTHON=/path/to/python3 ..." >&2; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing from requirements.lock (about a minute) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

# DEMO: more options for the demo, such as DEMO="--days 7 --events 8000"
demo: $(STAMP)
	@$(BIN)/audit-pipeline demo ./demo $(DEMO)

test: $(STAMP) lint types
	@$(BIN)/python -m pytest --quiet --numprocesses auto --dist worksteal $(PYTEST)

lint: $(STAMP)
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

types: $(STAMP)
	@$(BIN)/mypy

bench: $(STAMP)
	@$(BIN)/python -m benchmarks.run

# HISTORIES: how many, and the first seed, such as HISTORIES="500 12000"
histories: $(STAMP)
	@$(BIN)/python -m audit_pipeline_tests.sources.histories all $(or $(HISTORIES),10000)

ui: $(STAMP)
	@test -f demo/pipeline.yaml || $(MAKE) demo
	@$(BIN)/audit-pipeline -c demo/pipeline.yaml ui

lock:
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-strip-extras --no-header \
	  --extra dev --extra build --output-file requirements.lock pyproject.toml

docs-shots: $(STAMP)
	@$(BIN)/python -m benchmarks.shots

clean:
	rm -rf $(VENV) demo
