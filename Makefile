# Kalathi: two commands on a fresh machine, `make demo` and `make test`. Each makes .venv itself when it is not there.
PYTHON ?= python3
BIN := .venv/bin
PANEL := src/kalathi/marketplace/panel
# Pip checks every file against the hashes; the caches and the index are whatever the machine has set up.
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

# Tests start hundreds of processes. Without bytecode files each would compile every module again.
unexport PYTHONDONTWRITEBYTECODE
# Tests of processes and browsers often wait, so two workers more than cores are faster (285 s instead of 344 s on two).
# Each worker takes one test after another; tests/conftest.py puts the longest ones first.
IN_TURN = --dist load --maxschedchunk 1
CROWD = $(shell expr $$(getconf _NPROCESSORS_ONLN) + 2)
# These tests create their own databases, so a second run on PostgreSQL would test nothing new.
WITHOUT_THE_MARKETPLACES_DATABASE := tests/virtual/test_simulation.py tests/virtual/test_connector_memory.py tests/virtual/test_publishing_size.py

AT_MOST_TEN_MINUTES = $(shell command -v timeout > /dev/null && echo timeout 600)
# What `make attack` runs beside tests/attack: hostile connections, forms, receivers, addresses and pages.
HOSTILE := tests/e2e/test_hostile_connections.py tests/e2e/test_odd_receivers.py tests/e2e/test_egress_proxy.py \
  tests/e2e/test_proxies.py tests/e2e/test_signing_in.py tests/exhaustive/test_fuzz.py tests/panel/test_safety.py \
  tests/panel/test_hostile.py tests/panel/test_open_console.py tests/panel/test_sign_in_links.py \
  tests/contract/test_uploads.py tests/contract/test_wrong_tokens.py tests/contract/test_bad_input.py \
  tests/unit/test_connections.py tests/unit/test_answers.py tests/unit/test_guard.py tests/unit/test_dialing.py \
  tests/unit/test_redirects.py tests/unit/test_terminal.py tests/unit/test_secret_flags.py

.PHONY: help demo test check style types unit browser attack chaos cluster checkups bench docs texts client pictures pins test-lowest release platforms format clean

help:
	@echo "make demo    both use cases of the Smart Cart between real processes, told as they happen"
	@echo "make test    everything that checks the project"
	@echo "make check   the quick part: format, lint, imports, types, unit tests"
	@echo "make chaos   hundreds of kills, months of random days, a million deliveries; takes an hour"
	@echo "make cluster  the tests of a spread database; KALATHI_TEST_CITUS names a cluster"
	@echo "make attack  hostile requests, connections and receivers against real processes; takes minutes"
	@echo "make checkups  each broken receiver against every check of a checkup; takes ten minutes"
	@echo "make bench   the figures, each as a ratio measured in this run"
	@echo "make pictures  take the pictures of docs/ again"
	@echo "make docs    draw the tables and the diagram of docs/ again"
	@echo "make texts   collect the texts of the pages for their Greek translation"
	@echo "make client  make the client without an event loop from the one with an event loop"
	@echo "make pins    resolve the pinned requirements again"
	@echo "make release  build and check the wheel and the source distribution (docs/releasing.md)"
	@echo "make platforms  check that every library is ready to install on each system"
	@echo "make test-lowest  the unit and contract tests with the lowest allowed version of each library"

.venv/made: requirements.txt requirements-build.txt pyproject.toml
	@echo "Making .venv from requirements.txt (about half a minute)"
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(PIP) install --require-hashes -r requirements.txt -r requirements-build.txt
	@$(PIP) install --no-deps --no-build-isolation -e .
	@touch $@

.venv/made-dev: .venv/made requirements-dev.txt
	@echo "Adding what the checks need from requirements-dev.txt"
	@$(PIP) install --require-hashes -r requirements-dev.txt
	@touch $@

demo: .venv/made
	@$(BIN)/kalathi demo --once

check: .venv/made-dev
	@$(MAKE) --no-print-directory --jobs=2 style types unit

style:
	$(BIN)/ruff format --check --quiet .
	$(BIN)/ruff check --quiet .
	$(BIN)/lint-imports --no-cache > .venv/imports.txt || (cat .venv/imports.txt; exit 1)

types:
	$(BIN)/mypy
	@$(BIN)/python -m tests.browser.check_types

unit:
	$(BIN)/pytest -q -n 3 tests/unit tests/contract tests/test_tidy.py

browser: .venv/made-dev
	@$(BIN)/python -m tests.browser.get_browser

test: browser check
	$(BIN)/pytest -q -n $(CROWD) $(IN_TURN) \
	  tests/attack tests/checkup tests/e2e tests/exhaustive tests/virtual tests/browser tests/conformance tests/panel tests/windows
	@echo "The same on PostgreSQL: every call and the virtual days"
	KALATHI_TEST_DATABASE=postgresql KALATHI_TEST_ORDERS=150 KALATHI_TEST_CONNECTOR_ORDERS=100 KALATHI_TEST_RACES=2000 \
	  $(BIN)/pytest -q -n $(CROWD) $(IN_TURN) $(WITHOUT_THE_MARKETPLACES_DATABASE:%=--ignore=%) \
	  tests/exhaustive/test_races.py tests/exhaustive/test_fuzz.py tests/virtual tests/contract

chaos: .venv/made-dev
	KALATHI_TEST_KILLS=300 KALATHI_TEST_ORDERS=20000 KALATHI_TEST_DELIVERIES=1000000 \
	  KALATHI_TEST_CONNECTOR_ORDERS=5000 KALATHI_TEST_EVENTS=100000 KALATHI_TEST_RACES=50000 \
	  KALATHI_TEST_PUBLISHING_EVENTS=1500 KALATHI_TEST_PUBLISHING_SEEDS=4 KALATHI_TEST_PUBLISHING_PRODUCTS=100000 \
	  $(BIN)/pytest -q -s --timeout 7200 \
	  tests/e2e/test_crash.py tests/virtual/test_days.py tests/virtual/test_simulation.py \
	  tests/virtual/test_connector_days.py tests/virtual/test_connector_memory.py \
	  tests/virtual/test_publishing_days.py tests/virtual/test_publishing_size.py tests/exhaustive/test_races.py

# KALATHI_TEST_CITUS names the coordinator of a Citus cluster on this machine, as a superuser (CONTRIBUTING.md).
cluster: .venv/made-dev
	KALATHI_TEST_DATABASE=postgresql $(BIN)/pytest -q -n 2 $(IN_TURN) $(WITHOUT_THE_MARKETPLACES_DATABASE:%=--ignore=%) \
	  tests/contract tests/conformance tests/virtual
	$(BIN)/pytest -q tests/e2e/test_crash.py tests/e2e/test_spread.py tests/e2e/test_node_down.py

attack: .venv/made-dev
	KALATHI_ATTACK_EXAMPLES=500 $(AT_MOST_TEN_MINUTES) $(BIN)/pytest -q -n $(CROWD) $(IN_TURN) tests/attack $(HOSTILE)

checkups: .venv/made-dev
	KALATHI_TEST_CHECKUPS=every $(BIN)/pytest -q -n $(CROWD) $(IN_TURN) tests/checkup

bench: .venv/made-dev
	$(BIN)/python benchmarks/run.py

pictures: .venv/made-dev
	KALATHI_PICTURES=docs/pictures $(BIN)/pytest -q tests/browser/test_pictures.py -k taken

docs: .venv/made-dev
	$(BIN)/python -m tests.pages
	$(BIN)/kalathi openapi > docs/openapi.json

texts: .venv/made-dev
	$(BIN)/python -m babel.messages.frontend --quiet extract --mapping=babel.cfg --omit-header --no-location --output=.venv/messages.pot $(PANEL)
	$(BIN)/python -m babel.messages.frontend --quiet update --input-file=.venv/messages.pot --output-dir=$(PANEL)/translations --locale=el \
	  --no-fuzzy-matching --ignore-obsolete --ignore-pot-creation-date --no-wrap
	$(BIN)/python -m babel.messages.frontend --quiet compile --directory=$(PANEL)/translations

client: .venv/made-dev
	$(BIN)/python -m tests.sync_client

# One Python, or several: make release PYTHONS="python3.11 python3.14". With REHEARSE=1 nothing forbids to publish.
PYTHONS ?= $(BIN)/python
release: .venv/made-dev
	@$(BIN)/python -m release $(if $(REHEARSE),--rehearse) $(PYTHONS)

platforms: .venv/made-dev
	@$(BIN)/python -m release.platforms

format: .venv/made-dev
	$(BIN)/ruff format --quiet .
	$(BIN)/ruff check --fix --quiet .

# Only the libraries of pyproject.toml are at their lowest versions; their own libraries are at the newest.
LOWEST := .venv/lowest.txt
COMPILE = $(BIN)/uv pip compile --quiet --upgrade --no-header --no-emit-index-url --no-emit-find-links

pins: .venv/made-dev
	$(COMPILE) --universal --python-version 3.11 --generate-hashes --extra server --extra postgres pyproject.toml -o requirements.txt
	$(COMPILE) --universal --python-version 3.11 --generate-hashes --group build -c requirements.txt -o requirements-build.txt
	$(COMPILE) --universal --python-version 3.11 --generate-hashes --extra server --extra postgres --group build --group dev -c requirements.txt pyproject.toml -o requirements-dev.txt
	$(COMPILE) --python-version 3.11 --resolution lowest-direct --extra all pyproject.toml -o $(LOWEST)
	$(COMPILE) --python-version 3.11 --generate-hashes --extra all --group build --group test -c $(LOWEST) pyproject.toml -o requirements-lowest.txt

.venv-lowest/made: requirements-lowest.txt pyproject.toml
	@echo "Making .venv-lowest from requirements-lowest.txt (about half a minute)"
	@test -x .venv-lowest/bin/python || $(PYTHON) -m venv .venv-lowest
	@.venv-lowest/bin/python -m pip --disable-pip-version-check --quiet install --require-hashes -r requirements-lowest.txt
	@.venv-lowest/bin/python -m pip --disable-pip-version-check --quiet install --no-deps --no-build-isolation -e .
	@touch $@

test-lowest: .venv-lowest/made
	.venv-lowest/bin/python -m pytest -q -n 3 tests/unit tests/contract

clean:
	rm -rf .venv .venv-lowest
