# Every target sets up what it needs. `make demo` and `make test` work on a fresh machine.
SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

VENV := .venv
BIN := $(VENV)/bin
# Without PORT the demo takes 8787 or the next free port.
PORT ?=
DB ?= demo.db
# Four test processes on two cores: the flow and contract tests mostly wait for servers of their own.
WORKERS ?= 4

# Python keeps what it compiles, also on machines that say otherwise: each test process would compile everything again.
unexport PYTHONDONTWRITEBYTECODE

# What the tests start; where the Makefile cannot install programs, all that is missing is named at once.
PROGRAMS := sqlite3 initdb redis-server prometheus nginx haproxy chromium
UNINSTALLED = { echo "error: the packages could not be installed; the lines above say why. It needs a network." >&2; exit 1; }

PY := src tests bench examples scripts native
WEB := src/aerostack_realtime/web

.PHONY: help install demo check check-python check-pages quick coverage test programs compile-tests test-python test-node test-browser test-latency bench bench-quick faults outage test-versions test-redis test-pythons wheel docs reference check-chart test-caddy fuzz clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1|/' | column -t -s '|'

install: $(VENV)/.installed $(VENV)/.native node_modules/.installed $(WEB)/.built ## the virtual environment, the npm packages, the built pages

demo: install ## the server on a SQLite file, with the examples and sample data; PORT=8788
	@exec $(BIN)/aerostack demo --no-browser --db $(DB) $(if $(PORT),--port $(PORT))

check: install ## format, lint, strict types, import layers, English, the documentation; Python and TypeScript
	@$(MAKE) -j2 --output-sync=target check-python check-pages

check-python:
	$(BIN)/ruff format --check $(PY)
	$(BIN)/ruff check $(PY)
	$(BIN)/mypy
	$(BIN)/mypy --platform darwin --cache-dir .mypy_cache/darwin src/aerostack_realtime/database/sqlite/file_events.py
	$(BIN)/lint-imports --no-logo

check-pages: $(WEB)/docs/.built
	$(BIN)/python scripts/plain_english && git ls-files -z | xargs -0 $(BIN)/codespell
	npm run check -w aerostack-realtime
	npm run check:web

quick: check ## the gate before a commit: check, and the unit tests of both languages, under a minute
	$(BIN)/pytest tests/unit -n 2 -q
	npm run --silent test -w aerostack-realtime

coverage: install ## lines that the unit tests alone cover, above 90 % in channels, protocol and access
	$(BIN)/pytest tests/unit -n $(WORKERS) -q --cov=aerostack_realtime --cov-report=term:skip-covered
	for part in channels protocol access; do $(BIN)/coverage report --include="*/aerostack_realtime/$$part/*" --format=total --fail-under=90; done

# Beside the longest check the tests are compiled once, for all processes that run them.
test: programs install ## all checks and tests; Node's tests run beside Python's
	@$(MAKE) -j2 --output-sync=target check-python check-pages compile-tests
	@$(MAKE) -j2 --output-sync=line test-python test-node .tools/nextjs/.installed
	@$(MAKE) test-browser

programs:
	@scripts/require python3 node npm git $(PROGRAMS)

compile-tests:
	@mkdir -p .tools
	@$(BIN)/pytest --collect-only -q >.tools/collected || { tail -40 .tools/collected; exit 1; }

test-python: install $(filter-out .tools/chromium,$(PROGRAMS:%=.tools/%))
	$(BIN)/pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder

test-node: install
	npm test -w aerostack-realtime
	npm run test:integration -w aerostack-realtime

test-browser: install .tools/chromium .tools/nextjs/.installed
	npm run test:browser

SEEDS ?= 1 2 3
BROWSER_TESTS ?=
test-latency: install .tools/chromium .tools/nextjs/.installed ## the browser tests on a slow network, to find races; SEEDS="1 2" BROWSER_TESTS=chat
	@for seed in $(SEEDS); do echo "seed $$seed"; LATENCY_SEED=$$seed npm run test:browser -- $(BROWSER_TESTS) || exit 1; done

test-pythons: install .tools/sqlite3 .tools/initdb .tools/prometheus ## unit and flow tests on each Python that can be had here; PYTHONS="3.11 3.13" TESTS=tests/unit
	@ran=; for version in $(PYTHONS); do \
	  python=$$(scripts/python $$version) || { echo "Python $$version: not installed here, not tested"; continue; }; \
	  echo "Python $$version"; tools=.tools/python-$$version; ran="$$ran $$version"; \
	  [ -d $$tools ] || $$python -m venv $$tools; \
	  $$tools/bin/python -m pip install --quiet --disable-pip-version-check 'pip>=25.1' -c constraints.txt; \
	  $$tools/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e . --group dev; \
	  scripts/build_native $$tools/bin/python; \
	  $$tools/bin/pytest $(TESTS) -n $(WORKERS) --dist loadfile $(ARGS); \
	done; echo "tested on Python$$ran"; [ -n "$$ran" ]

wheel: install docs ## dist/: the Python package with its pages and the documentation
	$(BIN)/python -m build --quiet --outdir dist

bench: install ## this server and its peers on the same work; writes bench/RESULTS.md
	$(BIN)/python -m bench

bench-quick: install ## the ratios against ws and Socket.IO, under a minute
	$(BIN)/python -m bench --quick

faults: install .tools/sqlite3 .tools/initdb .tools/redis-server ## inject faults into a running server and check for losses; ARGS="--nodes 3"
	$(BIN)/python -m tests.faults $(ARGS)

outage: install .tools/initdb ## a long interruption of the connection to PostgreSQL; ARGS="--seconds 3600"
	$(BIN)/python -m tests.outage $(ARGS)

PYTHONS ?= 3.11 3.12 3.13 3.14
TESTS ?= tests/unit tests/flow
VERSIONS ?= 13 14 15 16 17 18
# Not "wrapping": it needs pg_resetwal, which these programs come without; `make test` has it.
test-versions: install .tools/sqlite3 .tools/initdb .tools/prometheus ## the PostgreSQL tests on each of its versions; VERSIONS="13 18"
	@for version in $(VERSIONS); do \
	  echo "PostgreSQL $$version"; programs=$$(scripts/postgres $$version); \
	  AEROSTACK_POSTGRES_BIN=$$programs $(BIN)/pytest tests/contract tests/flow -k "postgres and not wrapping" -n $(WORKERS) --dist loadfile; \
	done

REDIS ?= redis-6.2 valkey-8.1 valkey-9.1
CLUSTER_TESTS ?= tests/contract/backplane tests/flow/test_cluster.py tests/flow/test_stream_cluster.py \
  tests/flow/test_document_cluster.py tests/flow/test_workers.py
# Not TLS: these programs are built without it; `make test` has it.
test-redis: install .tools/sqlite3 .tools/initdb ## a cluster's tests and faults on other versions of Redis, and on Valkey; REDIS="valkey-9.1"
	@for server in $(REDIS); do \
	  AEROSTACK_REDIS_SERVER=$$(scripts/redis $$server); export AEROSTACK_REDIS_SERVER; $$AEROSTACK_REDIS_SERVER --version; \
	  $(BIN)/pytest $(CLUSTER_TESTS) -k "not tls" -n $(WORKERS) --dist loadfile; \
	  $(BIN)/python -m tests.faults --nodes 3 --published 400 --written 1000 --faults 200 --pause 150 --seed 17 --seconds 100; \
	done

docs: install ## the documentation site, in .tools/site and at /docs of `aerostack dev`; dead links fail
	@rm -f $(WEB)/docs/.built
	@$(MAKE) $(WEB)/docs/.built

reference: install ## the pages of docs/reference/ that follow from the code
	@mkdir -p docs/reference
	$(BIN)/python -m aerostack_realtime.config.reference > docs/reference/settings.md
	$(BIN)/python -m aerostack_realtime.gateway.http.metrics_list > docs/reference/metrics.md
	$(BIN)/python -m scripts.reference
	node packages/realtime/reference.mjs

check-chart: install ## the Helm chart: helm lint, and its manifests against the schemas of Kubernetes; needs Go
	@scripts/check_chart

test-caddy: install .tools/sqlite3 .tools/nginx .tools/haproxy .tools/proxies/caddy ## the proxies' tests with Caddy as well; needs Go
	$(BIN)/pytest tests/flow/test_reverse_proxies.py tests/flow/test_doctor.py -n 2

fuzz: install ## the parsers and what follows them, on random input
	$(BIN)/pytest tests/fuzz --hypothesis-profile=fuzz --timeout 3600

clean: ## remove what was installed and built here
	rm -rf $(VENV) node_modules packages/*/node_modules examples/*/node_modules tests/browser/node_modules $(WEB) .tools dist build
	rm -rf .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache packages/*/dist test-results

$(VENV)/.installed: pyproject.toml constraints.txt
	@scripts/require python3 node npm
	@echo "setting up the virtual environment in $(VENV)"
	python3 -m venv $(VENV)
	@echo "installing the Python packages"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check 'pip>=25.1' -c constraints.txt || $(UNINSTALLED)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e . --group dev || $(UNINSTALLED)
	@touch $@

$(VENV)/.native: $(VENV)/.installed native/pyproject.toml native/setup.py $(wildcard native/src/*/*.py native/src/*/*.c)
	@scripts/build_native $(BIN)/python
	@touch $@

node_modules/.installed: package.json package-lock.json $(wildcard packages/*/package.json examples/*/package.json)
	@scripts/require node npm
	@echo "installing the npm packages"
	@npm ci --no-audit --no-fund --loglevel=error || $(UNINSTALLED)
	@touch $@

$(WEB)/.built: node_modules/.installed $(shell find packages examples -path '*/node_modules' -prune -o -path '*/dist' -prune -o -type f -print 2>/dev/null)
	@echo "building the browser client and the pages"
	npm run --silent build:web
	@touch $@

.tools/nextjs/.installed: examples/frameworks/nextjs/package.json node_modules/.installed
	@echo "installing Next.js for its example"
	@mkdir -p .tools/nextjs && cp .npmrc $< .tools/nextjs/
	cd .tools/nextjs && npm install --no-package-lock --ignore-scripts --loglevel=error --install-links aerostack-realtime@file:../../packages/realtime
	@touch $@

# `make check` builds the pages again when one has changed; `make docs` builds them always.
PAGES := mkdocs.yml scripts/stage_docs.py bench/RESULTS.md packages/realtime/README.md examples/README.md $(wildcard *.md)
$(WEB)/docs/.built: $(PAGES) $(shell find docs -type f) | install
	@mkdir -p .tools
	@$(BIN)/python scripts/stage_docs.py .tools/docs
	@$(BIN)/zensical build --strict --clean >.tools/docs.log 2>&1 || { cat .tools/docs.log; exit 1; }
	@rm -rf $(WEB)/docs && cp -r .tools/site $(WEB)/docs && touch $@ && echo "built .tools/site and $(WEB)/docs"

.tools/proxies/caddy:
	@command -v go >/dev/null || { echo "error: go is missing: install Go 1.25 or newer and run make again." >&2; exit 1; }
	GOBIN=$(CURDIR)/.tools/proxies go install github.com/caddyserver/caddy/v2/cmd/caddy@v2.11.9

.tools/%:
	@scripts/require $*
	@mkdir -p .tools && touch $@

.PRECIOUS: .tools/%
