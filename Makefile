# What one does with Ani, a word each. Paths here are relative, so that a folder with spaces in its name is as good as any.

PYTHON ?= python3
VENV ?= .venv
ARGS ?=
PY := $(VENV)/bin/python
PIP := $(PY) -m pip --disable-pip-version-check --no-input
CONTRACT := $(shell find proto -name '*.proto') proto/build.py
TESTS := $(if $(strip $(ARGS)),$(ARGS),-n 2 --dist loadfile)

.DEFAULT_GOAL := help
.SUFFIXES:
.DELETE_ON_ERROR:
.NOTPARALLEL:
.PHONY: help setup run test check fmt lint types e2e faults bench protos revision release lock sbom audit

help: ## Tell what there is to do
	@echo 'make TARGET; options are passed on by ARGS, as in: make test ARGS="tests/catalog -k list"'
	@echo
	@sed -n 's/^\([a-z0-9]*\):.*## \(.*\)/  \1\t\2/p' Makefile | expand -t 12

setup: $(VENV)/dev gen/fingerprint ## Make .venv with everything for development, and build gen/
	@echo 'Ready: `make run`, `make test`, or `. $(VENV)/bin/activate` and `ani --help`.'

run: $(VENV)/embedded gen/fingerprint ## Run everything on this machine: `ani up`
	@exec $(PY) -m server up $(ARGS)

test: $(VENV)/dev gen/fingerprint ## Run the tests, all or those in ARGS
	$(PY) -m pytest $(TESTS)

check: $(VENV)/dev gen/fingerprint ## Run what must hold before a merge: format, lint, types, tests
	$(PY) -m ruff format --check .
	$(VENV)/bin/buf format -d --exit-code proto
	@$(MAKE) --no-print-directory lint types test ARGS=

fmt: $(VENV)/dev ## Format code and contract
	$(PY) -m ruff check --select I --fix .
	$(PY) -m ruff format .
	$(VENV)/bin/buf format -w proto

lint: $(VENV)/dev gen/fingerprint ## Lint code, imports and contract, and compare it with the last release
	$(PY) -m ruff check --output-format concise .
	$(VENV)/bin/lint-imports --no-logo
	$(VENV)/bin/buf lint gen/image.binpb --path ani
	@if test -f proto/released.binpb; \
	then $(VENV)/bin/buf breaking gen/image.binpb --against proto/released.binpb && echo 'The contract breaks nothing of the last release.'; \
	else echo 'No release yet (proto/released.binpb): nothing that the contract could break.'; fi

types: $(VENV)/dev gen/fingerprint ## Check the types
	$(PY) -m mypy

e2e: $(VENV)/dev gen/fingerprint ## Walk through the whole stack, gateway included
	$(PY) -m pytest -m '' tests/e2e $(ARGS)

faults: $(VENV)/dev gen/fingerprint ## Kill, cut and fill the parts under load
	$(PY) -m pytest -m '' tests/faults $(ARGS)

bench: $(VENV)/dev gen/fingerprint ## Measure, into docs/performance.md
	$(PY) -m tests.bench $(ARGS)

revision: $(VENV)/dev ## Draft a migration of what the tables in the code have more: NAME="add a note to genres"
	$(PY) -m migrations $(NAME)

protos: $(VENV)/embedded gen/fingerprint ## Pack the contract with its imports into dist/
	$(PY) proto/pack.py

release: gen/fingerprint ## Take the contract as released: from now on it may only grow
	cp gen/descriptor.binpb proto/released.binpb

lock: $(VENV)/dev ## Write requirements/*.lock anew from pyproject.toml
	@for set in 'runtime build telemetry s3' 'embedded build telemetry s3 embedded' 'dev build telemetry s3 embedded dev'; do \
	  set -- $$set; name=$$1; shift; echo "requirements/$$name.lock"; \
	  $(PY) -m uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
	    $$(printf -- '--extra %s ' "$$@") $(ARGS) pyproject.toml --output-file "requirements/$$name.lock" || exit 1; \
	done

sbom: $(VENV)/dev ## List what a release is made of, as CycloneDX, into dist/
	@mkdir -p dist
	$(PY) -m uv tool run --from 'cyclonedx-bom==7.5.0' cyclonedx-py requirements requirements/runtime.lock --output-file dist/sbom.cdx.json

audit: $(VENV)/dev ## Ask whether anything in the lock files is known to be vulnerable (needs the internet)
	$(PY) -m uv tool run --from 'pip-audit==2.10.1' pip-audit --require-hashes --disable-pip --requirement requirements/runtime.lock

# One virtual environment; `dev` holds all of `embedded`, so either is enough for `make run`.
$(VENV)/embedded: requirements/embedded.lock pyproject.toml
	@$(call install,embedded)
	@touch $(VENV)/embedded

$(VENV)/dev: requirements/dev.lock pyproject.toml
	@$(call install,dev)
	@touch $(VENV)/embedded $(VENV)/dev

gen/fingerprint: $(CONTRACT) | $(VENV)/embedded
	@$(PY) proto/build.py && touch gen/fingerprint

define install
$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || \
  { echo 'Ani needs Python 3.11 or newer: name one, as in `make PYTHON=python3.12 $(MAKECMDGOALS)`.' >&2; exit 1; }; \
$(PY) -c '' 2>/dev/null || $(PYTHON) -m venv --clear $(VENV) || \
  { echo '`$(PYTHON) -m venv` fails; on Debian it wants: apt install python3-venv' >&2; exit 1; }; \
echo 'Installing what requirements/$(1).lock names; the first time takes a minute or two.'; \
{ $(PIP) install --progress-bar off --require-hashes --requirement requirements/$(1).lock || echo FAILED; } | \
  awk '/^Collecting/ { printf "\r\033[K  %d %s", ++n, $$2 } /^FAILED/ { failed = 1 } END { if (n) print ""; exit failed }' && \
$(PIP) install --quiet --no-deps --no-build-isolation --editable .
endef
