# Two commands from a bare clone: make demo, make test. Each sets up .venv by itself.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: demo test docs torture bench lint mutate install clean

install: $(STAMP)

$(STAMP): constraints.txt pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile --constraint constraints.txt --editable '.[dev]'
	touch $(STAMP)

demo: $(STAMP)
	PATH="$(abspath $(BIN)):$$PATH" sh examples/demo.sh

test: $(STAMP)
	$(BIN)/python -m pytest

# The pages as a site in site/; a broken link or reference is an error.
docs: $(STAMP)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

# Hours: 1,000 kills, 5,000 damages, 5,000 command lines, 200 pairs of writers. ``make test`` tries a few of each kind.
torture: $(STAMP)
	$(BIN)/python -m pytest -m slow
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.torture all --seed 0

bench: $(STAMP)
	$(BIN)/python -m benchmarks --json benchmarks.json

lint: $(STAMP)
	$(BIN)/ruff format --check moefacts tests benchmarks
	$(BIN)/ruff check moefacts tests benchmarks
	$(BIN)/mypy
	$(BIN)/lint-imports

# Minutes to an hour; docs/mutation.md says what survives and why. Another module: make mutate MUTANTS='moefacts.models.moe*'
MUTANTS ?= moefacts.experiments.engine.verdict* moefacts.analysis.*

mutate: $(STAMP)
	PATH="$(abspath $(BIN)):$$PATH" OMP_NUM_THREADS=1 mutmut run $(foreach mutants,$(MUTANTS),'$(mutants)')
	PATH="$(abspath $(BIN)):$$PATH" mutmut results | sed '/: not checked$$/d'

clean:
	rm -rf $(VENV) site mutants .pytest_cache .mypy_cache .ruff_cache .import_linter_cache *.egg-info
