# Needs a Python of 3.11 or newer, Java 17 or 21, and nothing else: `make demo` does the rest.

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help setup demo test test-all test-oldest check coverage fuzz chaos study simulate simulate-gate bench-label bench-patterns bench-many bench-corpus bench-scale bench-incremental bench-chains bench-nlp bench-train bench-audit bench-audit-memory bench-against lint types contracts dist clean python java

BIN := .venv/bin
SETUP := .venv/.setup
CLASSES := .venv/.classes
DEV := .venv/.dev
OLDEST := .venv-oldest
DIST := dist
PYTEST = $(BIN)/python -m pytest --numprocesses $(or $(JOBS),2) --dist loadfile --no-loadscope-reorder

# The first Python on PATH that is new enough; `make setup PYTHON=/path/to/python3.12` names one.
PYTHONS := python3 python3.14 python3.13 python3.12 python3.11
NEW_ENOUGH := import sys; sys.exit(sys.version_info < (3, 11))
PYTHON ?= $(shell for p in $(PYTHONS); do $$p -c '$(NEW_ENOUGH)' 2>/dev/null && echo $$p && break; done)
NO_PYTHON = Python 3.11 or newer is needed and $(if $(PYTHON),$(PYTHON) is not one,none is on PATH): \
	install one, or name one with `make setup PYTHON=/path/to/python3.12`
NO_VENV = $(PYTHON) has no ensurepip and so cannot make a virtual environment: install its venv \
	package, on Debian and Ubuntu with `sudo apt-get install python3-venv`

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-19s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: java $(CLASSES) ## create .venv, install, fetch what Spark needs, and keep it ready, once

demo: java $(SETUP) ## run the five jobs on made-up comments, or on real ones: make demo DATA=FOLDER
	@$(BIN)/python -m jobs.demo --project $(if $(DATA),conf/youtube_spam.yaml --data "$(DATA)",conf/spam.yaml)

test: setup $(DEV) ## run all tests but the slow ones; make test ARGS="-k java" JOBS=1 runs some
	@$(PYTEST) -m "not slow" $(ARGS)

test-all: setup $(DEV) ## run all tests, also those that start processes: what .ci/run does
	@$(PYTEST) $(ARGS)

check: lint types contracts ## check style, types and imports, and run the tests that need no Java
	@$(PYTEST) -m "not slow and not spark" $(ARGS)

coverage: setup $(DEV) ## run the tests and say which branches of engine and jobs they take
	@$(PYTEST) -m "not slow" --cov=engine --cov=jobs --cov-branch --cov-report=term:skip-covered $(ARGS)

test-oldest: $(OLDEST)/.done ## run tests without Spark with the oldest versions that pyproject.toml allows
	@PYTHONPATH="$(CURDIR)" $(OLDEST)/bin/python -m pytest --numprocesses $(or $(JOBS),2) --dist loadfile \
		--no-loadscope-reorder -m 'not slow and not spark' tests $(ARGS)

lint: $(DEV) ## check style and formatting
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check

types: $(DEV) ## check types
	@$(BIN)/mypy

contracts: $(DEV) ## check which package imports which
	@$(BIN)/lint-imports

study: $(DEV) ## does slice-aware training help? train, compare, write docs/study: make study DATA=FOLDER
	@$(BIN)/python -m tests.benchmarks.study --data "$(or $(DATA),../shared/data)"

fuzz: $(DEV) ## compare every tier with Python on made-up functions: make fuzz ROWS=10000000 SEED=1
	@PYTHONPATH="$(CURDIR)" $(BIN)/python -m tests.fuzz --rows $(or $(ROWS),1000000) \
		$(if $(SEED),--seed $(SEED)) $(if $(SPARK),--spark $(SPARK)) $(if $(TIERS),--tiers "$(TIERS)")

chaos: $(DEV) ## let each call of each job fail or die, run it again, compare tables: make chaos FOLDER=chaos
	@PYTHONPATH="$(CURDIR)" $(BIN)/python -m tests.chaos $(or $(KIND),all) \
		$(if $(FOLDER),--folder "$(FOLDER)") $(ARGS)

simulate: $(DEV) ## what do intervals cover, and do tests cry wolf? write docs/statistics.md
	@OMP_NUM_THREADS=1 $(BIN)/python -m tests.benchmarks.simulate

simulate-gate: $(DEV) ## how often do nightly gates cry wolf, how soon do they see a fall? write docs/gate.md
	@OMP_NUM_THREADS=1 $(BIN)/python -m tests.benchmarks.simulate_gate

bench-label: $(DEV) ## measure the tutorial's slices against Snorkel and code by hand (40 minutes)
	@$(BIN)/python -m tests.benchmarks.claims bench_label

bench-patterns: $(DEV) ## measure 500 keywords and 500 regexes against pyarrow, Snorkel and re
	@$(BIN)/python -m tests.benchmarks.claims bench_patterns

bench-many: $(DEV) ## measure 1,800 slicing functions over 1.7 million rows
	@$(BIN)/python -m tests.benchmarks.claims bench_many

bench-corpus: $(DEV) ## measure the corpus's functions, each alone, against a Python loop (30 minutes)
	@$(BIN)/python -m tests.benchmarks.claims bench_corpus bench_corpus_spark

bench-scale: $(DEV) ## measure both jobs' CPU time over 10^7 rows, and joins by ranges of the key
	@$(BIN)/python -m tests.benchmarks.claims bench_scale bench_ranges

bench-incremental: $(DEV) ## measure nights: rows that came, a function that was edited, nothing
	@$(BIN)/python -m tests.benchmarks.claims bench_incremental

bench-chains: $(DEV) ## measure functions behind preprocessors against a Python loop
	@$(BIN)/python -m tests.benchmarks.claims bench_chains

bench-nlp: $(DEV) ## measure functions over parsed texts against Snorkel (a minute)
	@$(BIN)/python -m tests.benchmarks.claims bench_nlp

bench-train: $(DEV) ## measure training against Snorkel, sampling and scoring against plain Spark
	@$(BIN)/python -m tests.benchmarks.claims bench_train bench_sampling

bench-audit: $(DEV) ## measure figures of 10 to 1,000 slices against SQL by hand and Snorkel
	@$(BIN)/python -m tests.benchmarks.claims bench_audit bench_score_slices bench_signatures

bench-audit-memory: $(DEV) ## measure the memory of 2,000 slices by 12 metrics by 2 models, 10^7 rows
	@$(BIN)/python -m tests.benchmarks.claims audit_memory

bench-against: $(DEV) ## is our side slower than at a commit? make bench-against COMMIT=984b02a
	@$(BIN)/python -m tests.benchmarks.against $(or $(COMMIT),HEAD~1) $(CASES)

dist: $(SETUP) ## build the wheel, and the zip for spark-submit --py-files, in dist/
	@rm -rf build/lib build/wheel $(DIST)/*.whl $(DIST)/*.zip
	@$(BIN)/python -m pip wheel --quiet --no-deps --wheel-dir $(DIST) .
	@$(BIN)/python -m zipfile -e $(DIST)/*.whl build/wheel
	@version=$$(ls $(DIST) | cut -d - -f 2) && cd build/wheel \
		&& "$(CURDIR)/$(BIN)/python" -m zipfile -c "$(abspath $(DIST))/slice-engine-$$version.zip" engine sfs
	@ls $(DIST)/*

clean: ## remove what was built and cached, but not .venv and .venv-oldest
	@rm -rf build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	@find . -path './.venv*' -prune -o -type d -name __pycache__ -print | xargs rm -rf

python:
	@"$(PYTHON)" -c '$(NEW_ENOUGH)' 2>/dev/null || { echo '$(NO_PYTHON)' >&2; exit 1; }
	@"$(PYTHON)" -c 'import ensurepip, venv' 2>/dev/null || { echo '$(NO_VENV)' >&2; exit 1; }

java: python
	@"$(PYTHON)" -m engine.storage.java

$(SETUP): pyproject.toml | java
	@echo 'Installing into .venv; the first time this takes some minutes.'
	@test -x $(BIN)/pip || "$(PYTHON)" -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[train,demo]'
	@$(BIN)/python -m engine.storage.session
	@touch $@

$(CLASSES): $(SETUP)
	@echo 'Letting Java keep its classes ready: sessions start in half the time.'
	@$(BIN)/python -m engine.storage.session --classes
	@touch $@

$(DEV): $(CLASSES)
	@echo 'Installing the tools for tests and checks into .venv.'
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[train,demo,dev]'
	@touch $@

$(OLDEST)/.done: pyproject.toml tests/oldest.py | $(DEV)
	@echo 'Installing the oldest versions into $(OLDEST); the first time this takes some minutes.'
	@test -x $(OLDEST)/bin/pip || "$(PYTHON)" -m venv $(OLDEST)
	@PYTHONPATH="$(CURDIR)" $(BIN)/python -m tests.oldest > $(OLDEST)/requirements.txt
	@$(OLDEST)/bin/python -m pip install --quiet --disable-pip-version-check -r $(OLDEST)/requirements.txt
	@$(OLDEST)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps -e .
	@touch $@
