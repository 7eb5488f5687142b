# Needs make and a Python of 3.11 or later, nothing else. The first target that is asked for sets up .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# Twice quiet: errors only.
PIP := $(BIN)/python -m pip install --disable-pip-version-check --quiet --quiet --constraint constraints.txt

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-all lint format bench gallery pictures clean

help:
	@echo "make demo       set up, train a GAN on real digits, show what came out (a few minutes)"
	@echo "make test       set up, run the bounded test suite"
	@echo "make test-all   everything, the tests marked deep included"
	@echo "make lint       ruff and mypy"
	@echo "make format     let ruff rewrite what it can"
	@echo "make bench      measure, and write docs/performance.md"
	@echo "make gallery    train each system small, and write what it learned to docs/learning.md"
	@echo "make pictures   draw the diagrams of docs/pictures, and measure them"
	@echo "make clean      remove caches and builds; .venv and runs stay"

setup: $(READY)

# torch comes first and pinned: a range, asked for by another package, could pull a much larger build.
$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "gangraph needs Python 3.11 or later; say which with: make PYTHON=python3.11 ..." >&2; exit 1; }
	@test -x $(BIN)/python || { echo "creating $(VENV)"; $(PYTHON) -m venv $(VENV); }
	@echo "installing torch and the other packages into $(VENV): minutes the first time"
	@$(PIP) torch
	@$(PIP) --editable '.[train,dev]'
	@touch $@

demo: $(READY)
	@$(BIN)/python -m gangraph.train.demo

# Two workers, one thread each: two threads each would fight over two cores. Hundreds of commands are run: with bytecode.
PYTEST := OMP_NUM_THREADS=1 PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest -q -n 2 --dist loadgroup

test: $(READY)
	@$(PYTEST) -m "not deep"

test-all: $(READY)
	@$(PYTEST)

lint: $(READY)
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

format: $(READY)
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

bench: $(READY)
	@$(BIN)/python -m benchmarks

gallery: $(READY)
	@$(BIN)/python -m benchmarks.gallery

pictures: $(READY)
	@mkdir -p docs/pictures
	@for spec in specs/*.yaml; do name=$$(basename $$spec .yaml); \
		$(BIN)/python -m gangraph draw $$name -o docs/pictures/$$name.svg || exit 1; done
	@$(BIN)/python -m gangraph draw stargan-v2 --player maker -o docs/pictures/stargan-v2-maker.svg
	@$(BIN)/python -m gangraph diff dcgan wgan-gp -o docs/pictures/dcgan-to-wgan-gp.svg
	@$(BIN)/python -m benchmarks.legible

clean:
	@rm -rf dist build .pytest_cache .mypy_cache .ruff_cache .hypothesis
	@find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -rf {} +
