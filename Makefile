# Set-up, checks, and everything the repository can redraw.
#
# A fresh clone needs make, bash and Python 3.11 or 3.12 with venv. Packages come pinned from
# constraints.txt. Where pip's own index has only CUDA builds of torch for this platform,
# name one that has CPU builds: make PIP_ARGS="--extra-index-url URL" demo
SHELL := bash
BIN := .venv/bin
PIP_ARGS ?=
FITS := import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 13))
PYTHON ?= $(shell for p in python3.11 python3.12 python3; do \
	"$$p" -c "$(FITS)" >/dev/null 2>&1 && echo "$$p" && break; done)

.PHONY: demo test test-all soak coverage lab lint types docs notebooks figures bench clean
.NOTPARALLEL:

demo: .venv/base.stamp
	$(BIN)/bcprobe probe --latent mistake

# A process a core, one thread each; `make test PYTEST="tests/probes"` runs a part.
PYTEST ?= tests
test: .venv/dev.stamp
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto -m "not slow" $(PYTEST)

# Slow ones too: kills, many runs, a browser.
test-all: .venv/dev.stamp
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto $(PYTEST)

# Random clicks, two probes at once, kills: under ten minutes.
soak: .venv/dev.stamp
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto tests/test_soak.py tests/training/test_kills.py

coverage: .venv/dev.stamp
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto -m "not slow" --cov --cov-report=term $(PYTEST)

# JupyterLab on the notebooks, in this environment.
lab: .venv/dev.stamp
	$(BIN)/jupyter lab notebooks

lint: .venv/dev.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports --no-logo

types: .venv/dev.stamp
	$(BIN)/mypy bcprobe

docs: .venv/dev.stamp
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

# Numbered cells, no times: an executed notebook changes only where its results do, and in
# the names of its widgets.
NUMBER_CELLS := import json, sys; notebook = json.load(sys.stdin); \
	[cell.update(id=f"cell-{n}") for n, cell in enumerate(notebook["cells"])]; \
	json.dump(notebook, sys.stdout)

notebooks: .venv/dev.stamp
	@set -o pipefail; cd notebooks; for source in *.py; do \
	  echo "executing notebooks/$$source"; \
	  ../$(BIN)/jupytext --quiet --to ipynb --output - "$$source" \
	    | ../$(BIN)/python -c '$(NUMBER_CELLS)' \
	    | ../$(BIN)/jupyter nbconvert --log-level ERROR --stdin --to notebook --execute \
	      --KernelManager.transport=ipc --ExecutePreprocessor.record_timing=False \
      --ExecutePreprocessor.startup_timeout=300 \
	      --output "$${source%.py}.ipynb" || exit 1; \
	done

figures: .venv/base.stamp
	$(BIN)/bcprobe figure all

bench: .venv/dev.stamp
	@for script in benchmarks/*.py; do \
	  echo "running $$script"; $(BIN)/python "$$script" || exit 1; \
	done

clean:
	rm -rf .venv .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	rm -rf build dist site *.egg-info
	find bcprobe tests benchmarks -name __pycache__ -prune -exec rm -rf {} +

# $(call install,EXTRAS): pip's latest line moves on a terminal; the log's end shows a failure.
define install
@echo "installing bcprobe$(1), a few minutes the first time"
@set -o pipefail; \
$(BIN)/python -m pip install $(PIP_ARGS) --constraint constraints.txt --editable ".$(1)" 2>&1 \
  | tee .venv/install.log \
  | while IFS= read -r line; do [ ! -t 1 ] || printf '\r\033[K%.76s' "$$line"; done \
  || { echo; tail -n 20 .venv/install.log; exit 1; }
@[ ! -t 1 ] || printf '\r\033[K'
@touch $@
endef

.venv/made.stamp:
	@[ -n "$(PYTHON)" ] || { echo "bcprobe needs Python 3.11 or 3.12: make PYTHON=PATH"; exit 1; }
	@echo "making .venv with $(PYTHON)"
	@$(PYTHON) -m venv .venv
	@touch $@

.venv/base.stamp: pyproject.toml constraints.txt | .venv/made.stamp
	$(call install,)

.venv/dev.stamp: pyproject.toml constraints.txt | .venv/made.stamp
	$(call install,[dev])
	@touch .venv/base.stamp
