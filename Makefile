# Everything a newcomer runs. `make help` lists it.
SHELL := /bin/sh
.DEFAULT_GOAL := help

DATA ?=
PRESET ?= demo
LOCK_ARGS ?=
ARGS ?=

UV = $(shell command -v uv || echo .uv/bin/uv)
LOCK = $(UV) pip compile --quiet --generate-hashes --no-header --python-version 3.10 --custom-compile-command "make lock" $(LOCK_ARGS)

.PHONY: help
help: ## Show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sort | awk -F ':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

.PHONY: run
run: .venv/.run ## Run the whole pipeline; DATA=<BreaKHis_v1 folder>, PRESET=demo|paper|production, ARGS="--set key=value"
	@.venv/bin/knet run --preset $(PRESET) $(if $(DATA),--data "$(DATA)") $(ARGS)

.PHONY: test
test: .venv/.dev ## Check style and types, run the whole test suite
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	.venv/bin/python -m pytest $(ARGS)

.PHONY: setup
setup: .venv/.dev ## Set up .venv with the development tools

.PHONY: format
format: .venv/.dev ## Format the code and mend what ruff can mend
	.venv/bin/ruff format .
	.venv/bin/ruff check --fix .

.PHONY: lock
lock: .venv/.run ## Bring requirements*.lock up to pyproject.toml; LOCK_ARGS=--upgrade for the newest versions
	$(LOCK) --extra pipeline pyproject.toml -o requirements.lock
	$(LOCK) --extra pipeline --extra dev -c requirements.lock pyproject.toml -o requirements-dev.lock
	$(LOCK) --universal requirements-uv.in -o requirements-uv.lock

.PHONY: proto
proto: .venv/.run ## Compile serving/*.proto into serving/messages.binpb
	$(UV) tool run --python .venv/bin/python --from grpcio-tools==1.65.5 python -m grpc_tools.protoc \
		-I. --include_imports --descriptor_set_out=serving/messages.binpb serving/predict.proto

.PHONY: facets
facets: .venv/.run ## Bundle facets, which shows statistics, into components/data_gate/facets.html.gz
	$(UV) run --no-project --isolated --with tensorboard-plugin-wit==1.8.1 python scripts/bundle_facets.py

.PHONY: clean
clean: ## Remove the environment and caches; runs/ and data/ stay
	rm -rf .venv .uv .mypy_cache .ruff_cache .pytest_cache build *.egg-info

.venv/.run: requirements.lock pyproject.toml scripts/setup.sh
	@scripts/setup.sh $(if $(wildcard .venv/.dev),requirements-dev.lock,requirements.lock)
	@touch $@

# The development lock holds all of requirements.lock too, so both stamps are set.
.venv/.dev: requirements-dev.lock requirements.lock pyproject.toml scripts/setup.sh
	@scripts/setup.sh requirements-dev.lock
	@touch .venv/.run $@
