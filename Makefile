# Each target makes the virtual environment and installs what it needs when that is missing.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin

.PHONY: setup demo test test-all lint bench check clean
.DEFAULT_GOAL := help

help:  ## show the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 10

# The constraints pin torch: left to itself it may bring gigabytes of CUDA packages that a CPU has no use for.
$(BIN)/.installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "resight needs Python 3.11 or newer; name one with: make $(MAKECMDGOALS) PYTHON=python3.12"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --no-compile --disable-pip-version-check -c constraints.txt -e '.[demo,dev]'
	@touch $@

setup: $(BIN)/.installed  ## make .venv and install resight into it

demo: setup  ## draw people, train on them without labels, evaluate, write a report
	$(BIN)/resight demo --out demo

test: setup  ## run the tests
	$(BIN)/python -m pytest

test-all: setup  ## run the tests, those that start a local Ray too
	$(BIN)/python -m pytest -m ''

lint: setup  ## check style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: setup  ## measure the claims in benchmarks/
	$(BIN)/python benchmarks/gsmlp_exact.py
	$(BIN)/python benchmarks/input_pipeline.py
	$(BIN)/python benchmarks/mining.py
	$(BIN)/python benchmarks/memory_on_disk.py
	$(BIN)/python benchmarks/evaluation.py --rerank
	$(BIN)/python benchmarks/clustering.py --images 4000 --equal 1000 --dim 512
	$(BIN)/python benchmarks/audit.py --repeats 20

check: lint  ## lint, and the tests with their coverage
	$(BIN)/python -m pytest --cov

clean:  ## remove the environment and what the tools left
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .coverage
