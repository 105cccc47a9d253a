# Set-up, checks and everything the repository can redraw.
# The pinned torch is the CPU build where pip can see one. To name another package index,
# or to install a CUDA build: make PIP_ARGS="..." demo
PYTHON ?= $(shell for p in python3.11 python3.12 python3; do command -v $$p && break; done)
PIP_ARGS ?=
BIN := .venv/bin

.PHONY: demo test lint types notebooks figures bench clean

demo: .venv/base.stamp  ## Probe the shipped checkpoint for the mistake direction
	$(BIN)/bcprobe probe --latent mistake

test: .venv/dev.stamp  ## Run the tests
	$(BIN)/python -m pytest

lint: .venv/dev.stamp  ## Style, formatting, and the import contract
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

types: .venv/dev.stamp  ## Static types
	$(BIN)/mypy bcprobe

notebooks: .venv/dev.stamp  ## Execute every notebook from its source
	for source in notebooks/*.py; do \
	  $(BIN)/jupytext --to ipynb --output $${source%.py}.ipynb $$source && \
	  $(BIN)/jupyter nbconvert --to notebook --execute --inplace $${source%.py}.ipynb || exit 1; \
	done

figures: .venv/base.stamp  ## Redraw every figure from its committed table
	$(BIN)/bcprobe figure all

bench: .venv/dev.stamp  ## Run every benchmark
	for script in benchmarks/*.py; do echo "== $$script"; $(BIN)/python $$script || exit 1; done

.venv/made.stamp:
	@echo "making .venv with $(PYTHON)"
	$(PYTHON) -m venv .venv
	@touch $@

.venv/base.stamp: pyproject.toml constraints.txt | .venv/made.stamp
	@echo "installing bcprobe"
	$(BIN)/pip install --quiet $(PIP_ARGS) --constraint constraints.txt --editable .
	@touch $@

.venv/dev.stamp: pyproject.toml constraints.txt | .venv/made.stamp
	@echo "installing bcprobe with what its tests need"
	$(BIN)/pip install --quiet $(PIP_ARGS) --constraint constraints.txt --editable ".[dev]"
	@touch $@ .venv/base.stamp

clean:
	rm -rf .venv
