# Every target makes its own .venv when there is none.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
ARGS ?=
FAULT_EVERY ?= 20

.PHONY: demo test check bench sim soak reliability mutants fuzz format clean help

help:            ## Show this list.
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /  make \1\t/'

demo: $(STAMP)   ## Run a server, rooms and clients in real processes, and watch them.
	@$(BIN)/srs demo $(ARGS)

test: $(STAMP)   ## Run all tests.
	@$(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder $(ARGS)

check: $(STAMP)  ## Check format, lint, types and layers.
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/basedpyright
	@$(BIN)/lint-imports

bench: $(STAMP)  ## Measure beside a bare pyzmq loop.
	@$(BIN)/python -m benchmarks $(ARGS)

reliability: $(STAMP) ## Measure what docs/reliability.md shows; takes about an hour and a half.
	@$(BIN)/python -m benchmarks.reliability $(ARGS)

mutants: $(STAMP) ## Plant known bugs, one at a time, and see which test finds each.
	@$(BIN)/python -m tests.mutants $(ARGS)

fuzz: MINUTES ?= 10
fuzz: $(STAMP)   ## Fuzz every decoder and conversation for MINUTES=10 (Linux).
	@$(BIN)/python -c 'import atheris' 2>/dev/null || $(BIN)/python -m pip install --quiet --editable '.[fuzz]'
	@$(BIN)/python -m tests.fuzz --minutes $(MINUTES) $(ARGS)

sim: $(STAMP)    ## The whole system in memory under faults: SEEDS=1000, SEEDS=5000-6000, or MINUTES=10.
	@$(BIN)/python -m tests.sim $(if $(SEEDS),--seeds $(SEEDS)) $(if $(MINUTES),--minutes $(MINUTES)) $(ARGS)

soak: MINUTES ?= 30
soak: $(STAMP)   ## Real processes under faults for MINUTES=30, one each FAULT_EVERY=20 seconds.
	@$(BIN)/python -m tests.chaos --minutes $(MINUTES) --fault-every $(FAULT_EVERY) $(ARGS)

format: $(STAMP) ## Format the code.
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

clean:           ## Remove what the targets made.
	rm -rf $(VENV) .fuzz .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache dist

$(STAMP): pyproject.toml
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing into $(VENV) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[typed,cli,metrics,test,check]'
	@touch $@
