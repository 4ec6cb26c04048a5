# Two commands are enough: `make run` shows the main job, `make test` tests everything.
# Both install what they need (apt and pip, into .venv) and say so.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SOURCES := governor tests benchmarks
BENCHMARKS := reaction idle tick contention memory
DEB = $(firstword $(wildcard dist/governor_*_all.deb))

.PHONY: help run test test-unit test-guest test-long bench lint deb clean
.DEFAULT_GOAL := help

help: ## What can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: deb $(VENV)/ready ## Install the package (here, or in a guest where this machine has no systemd) and show it work
	$(BIN)/python -m tests.vm.demo dist

test: lint test-unit test-guest ## Everything, in under 25 minutes

lint: $(VENV)/ready ## Style, types and the direction of imports
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/ruff format --check $(SOURCES)
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

test-unit: $(VENV)/ready ## What needs no guest: temporary directories and a private dbus-daemon
	$(BIN)/pytest tests --ignore=tests/vm

test-guest: deb $(VENV)/ready ## The real thing on Debian 13, and on Debian 12 what must hold there too
	$(BIN)/pytest tests/vm --vm-suite trixie
	$(BIN)/pytest tests/vm --vm-suite bookworm -m bookworm

test-long: deb $(VENV)/ready ## The full sizes: 200 kills, 100,000 policies
	GOVERNOR_FUZZ=100000 $(BIN)/pytest tests/policy --timeout 7200
	GOVERNOR_KILLS=200 $(BIN)/pytest tests/vm --vm-suite trixie -m long --timeout 7200

bench: deb $(VENV)/ready ## Measure what docs/benchmarks.md claims, an hour in all; a benchmark asserts nothing
	for name in $(BENCHMARKS); do $(BIN)/python -m benchmarks.$$name || exit 1; done

deb: ## Build the Debian package into dist/
	packaging/build-deb

$(VENV)/ready: pyproject.toml packaging/dev-packages.txt packaging/dev-setup
	packaging/dev-setup $(PYTHON) $(VENV)
	touch $@

clean: ## Remove what was made here; the guests' images stay in the cache
	rm -rf $(VENV) dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis
