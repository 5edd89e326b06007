# Everything a newcomer runs. `make help` lists it.
SHELL := /bin/sh
.DEFAULT_GOAL := help

DATA ?=
PRESET ?= demo
STACK ?=
KFP ?=
LOCK_ARGS ?=
ARGS ?=

UV = $(shell command -v uv || echo .uv/bin/uv)
LOCK = $(UV) pip compile --quiet --generate-hashes --no-header $(LOCK_ARGS)
PROTOC = $(UV) tool run --python .venv/bin/python --from grpcio-tools==1.65.5 python -m grpc_tools.protoc -I. --include_imports
SETUP_FILES = $(wildcard requirements/*.lock) pyproject.toml pipeline/pyproject.toml $(wildcard scripts/*.py)

# Some environments turn bytecode off. Importing TensorFlow and Keras then takes each process three times as long.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help
help: ## Show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sort | awk -F ':.*## ' '{printf "  make %-16s %s\n", $$1, $$2}'

.PHONY: run
run: .venv/.run ## Run the whole pipeline; DATA=<BreaKHis_v1 folder>, PRESET=demo|paper|production or CONFIG=<file>, ARGS="--set key=value"
	@.venv/bin/knet run $(if $(CONFIG),--config "$(CONFIG)",--preset $(PRESET)) $(if $(DATA),--data "$(DATA)") $(ARGS)

.PHONY: lint
lint: .venv/.dev ## Check style and types
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy

.PHONY: check
check: lint ## Check style and types, run the quick tests: three minutes on two cores
	.venv/bin/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder -m "not slow and not browser and not e2e and not container and not kubernetes and not kubeflow and not clients and not prism" $(ARGS)

.PHONY: test
test: lint ## Check style and types, run the whole test suite
	.venv/bin/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder $(ARGS)

.PHONY: test-current
test-current: .venv/.dev ## Run the suite on the current stack in a Debian 13 root, where this machine is too old for it
	@scripts/test_current.sh

.PHONY: test-image
test-image: .venv/.dev ## Build the image with buildah and run a step of the graph in it; DEVICE=cuda, BUILD_CA=<file>
	.venv/bin/python -m pytest -m container tests/container $(ARGS)

.PHONY: test-clients
test-clients: .venv/.dev ## Build the clients of examples/clients with Maven and npm, and try them
	.venv/bin/python -m pytest -m clients tests/clients $(ARGS)

.PHONY: test-prism
test-prism: .venv/.dev ## Run Beam's stages on Prism, Beam's portable runner, which Go builds first
	.venv/bin/python -m pytest -m prism tests/prism $(ARGS)

.PHONY: test-kubernetes
test-kubernetes: .venv/.dev ## Apply the manifests to a real Kubernetes API server, which Go builds first
	.venv/bin/python -m pytest -m kubernetes tests/kubernetes $(ARGS)

.PHONY: test-kubeflow
test-kubeflow: .venv/.dev ## Run the graph on Kubeflow Pipelines' own programs; KFP=<checkout of kubeflow/pipelines at a tag>
	KFP="$(KFP)" .venv/bin/python -m pytest -m kubeflow tests/kubeflow_backend $(ARGS)

.PHONY: setup
setup: .venv/.dev ## Set up .venv with the development tools

.PHONY: format
format: .venv/.dev ## Format the code and fix what ruff can fix
	.venv/bin/ruff format .
	.venv/bin/ruff check --fix .

.PHONY: settings
settings: .venv/.run ## Generate docs/settings.md from the descriptions of the settings
	.venv/bin/python -c 'from pipeline.config.explain import settings_page as page; print(page(), end="")' > docs/settings.md

.PHONY: lock
lock: .venv/.run ## Bring requirements/ up to pyproject.toml; LOCK_ARGS=--upgrade for the newest versions
	$(LOCK) --universal requirements/uv.in -o requirements/uv.lock
	$(LOCK) --universal --python-version 3.10 requirements/tools.in -o requirements/tools.lock
	$(LOCK) --python-version 3.10 --extra pipeline --extra mlflow pyproject.toml -o requirements/compat.lock
	$(LOCK) --python-version 3.10 --extra pipeline --extra mlflow --extra dev -c requirements/compat.lock pyproject.toml -o requirements/compat-dev.lock
	$(LOCK) --universal --python-version 3.11 --extra pipeline --extra mlflow pyproject.toml -o requirements/current.lock
	$(LOCK) --universal --python-version 3.11 --extra pipeline --extra mlflow --extra cuda -c requirements/current.lock pyproject.toml -o requirements/current-cuda.lock
	$(LOCK) --universal --python-version 3.11 --extra pipeline --extra mlflow --extra dev -c requirements/current.lock pyproject.toml -o requirements/current-dev.lock

.PHONY: wheels
wheels: .venv/.run ## Build dist/: the wheels of the client's distribution and of the pipeline's
	rm -rf build dist  # setuptools packs what an older build left there
	$(UV) build --quiet --wheel --no-build-isolation --python .venv/bin/python --out-dir dist .
	$(UV) build --quiet --wheel --no-build-isolation --python .venv/bin/python --out-dir dist pipeline

.PHONY: proto
proto: .venv/.run ## Compile the .proto files of knet/ into .binpb files
	$(PROTOC) --descriptor_set_out=knet/base/proto/messages.binpb $(addprefix knet/base/proto/,predict.proto get_model.proto example.proto)
	$(PROTOC) --descriptor_set_out=knet/serving/config/settings.binpb knet/serving/config/settings.proto

.PHONY: facets
facets: .venv/.run ## Bundle facets, which shows statistics, into knet/report/templates/facets.html.gz
	$(UV) run --no-project --isolated --with tensorboard-plugin-wit==1.8.1 python scripts/bundle_facets.py

.PHONY: clean
clean: ## Remove the environments and caches; runs/ and data/ stay
	rm -rf .venv .uv .tools .debian13* .crossover .mypy_cache .ruff_cache .pytest_cache build dist *.egg-info

# Another stack than the one that is set up: set up again.
ifneq ($(STACK),)
ifneq ($(STACK),$(shell cat .venv/.stack 2>/dev/null))
.venv/.run .venv/.dev: again
endif
endif
.PHONY: again
again:

.venv/.run: $(SETUP_FILES)
	@STACK=$(STACK) python3 scripts/set_up.py $(if $(wildcard .venv/.dev),dev,run)
	@touch $@

# The development lock holds all of the other one too, so both stamps are set.
.venv/.dev: $(SETUP_FILES)
	@STACK=$(STACK) python3 scripts/set_up.py dev
	@touch .venv/.run $@
