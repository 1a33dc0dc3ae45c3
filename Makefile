# `make` lists the targets. PYTHON=... chooses the interpreter of a new .venv.

PYTHON ?= python3
BIN := .venv/bin
CODE := ar_jax configs examples experiments tests
PYTEST := $(BIN)/python -m pytest -n 2 --dist=loadfile -q --durations=15

.PHONY: help setup lint test test-all demo format clean

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-9s %s\n", $$1, $$2}' \
	  $(firstword $(MAKEFILE_LIST))

setup: .venv/stamp  ## .venv with the pinned packages and ar_jax, editable

# Made again when what it was made from changes. Modules are compiled when they
# are first imported, and most never are.
.venv/stamp: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "ar_jax needs Python 3.11 or newer, and $(PYTHON) is not:" \
	    "name another, as in: make setup PYTHON=python3.12" >&2; exit 1; }
	@echo "Installing into .venv (a minute or two) ..."
	@$(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install -qq --disable-pip-version-check \
	  --no-compile -c constraints.txt -e ".[dev]"
	@touch $@

lint: setup  ## ruff: rules and format
	$(BIN)/python -m ruff check -q $(CODE)
	$(BIN)/python -m ruff format -q --check $(CODE)

test: lint  ## lint and the fast tests: what CI runs
	$(PYTEST)

test-all: lint  ## the slow proofs as well
	$(PYTEST) -m ""

demo: setup  ## train, evaluate, sample and report a small GPT on text
	rm -rf runs/demo
	$(BIN)/ar_jax train --config=configs/text_gpt.py --workdir=runs/demo
	$(BIN)/ar_jax evaluate --workdir=runs/demo
	$(BIN)/ar_jax sample --workdir=runs/demo --prompt="The " --prompt="def " \
	  --num=2 --length=300 --temperature=0.8 --seed=0
	$(BIN)/ar_jax report runs/demo --prompt="The "

format: setup  ## ruff: format and mend what it can
	$(BIN)/python -m ruff format $(CODE)
	$(BIN)/python -m ruff check --fix $(CODE)

clean:  ## remove .venv and caches; runs/ stays
	rm -rf .venv .pytest_cache .ruff_cache build dist *.egg-info
	find $(CODE) -name __pycache__ -type d -prune -exec rm -rf {} +
