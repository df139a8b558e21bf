# The short verbs of this project; CI runs the same ones.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PROTO_BIN := .venv-proto/bin
PROTOS := $(wildcard proto/svdfarm/v1/*.proto)

.PHONY: setup demo nano nano-eval pictures bench test test-browser chaos planted check ci deploy-check manifests proto proto-check proto-release lock format

setup: $(VENV)/.done

$(VENV)/.done: requirements/dev.txt pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --requirement requirements/dev.txt
	$(BIN)/pip install --quiet --no-deps --editable .
	touch $@

demo: export MODEL := $(or $(MODEL),nano)
demo: setup
	$(BIN)/python examples/demo.py

# Trains the small model anew: hours on a CPU, minutes on a GPU. A stopped run goes on.
nano: setup
	$(BIN)/python -m farm.nano.train --work build/nano

nano-eval: setup
	$(BIN)/pip install --quiet --requirement requirements/nano.txt
	$(BIN)/python -m farm.nano.evaluate --out farm/nano/EVALUATION.md

# The moving pictures of the README, from the videos of `make demo`.
pictures: demo
	mkdir -p docs/images
	$(BIN)/python examples/sheet.py out/rocket.mp4 out/astronaut.mp4 out/coffee.mp4 out/chelsea.mp4 \
	  --sheet docs/images/demo.png --gif docs/images/demo.gif

# The engine beside diffusers, on whatever is here; as BENCH="--parts floor,eager,ours --budget-s 560".
bench: setup
	$(BIN)/python -m benchmarks.bench_engine $(BENCH)

test: setup
	$(BIN)/python -m pytest

# The web page in a real Chromium, which has to be there; with CI=true it fails where there is none.
test-browser: setup
	$(BIN)/python -m pytest tests/browser $(BROWSER)

# Breaks a farm under load; as CHAOS="--seed 3 --seconds 300 --database postgres --artifacts s3".
chaos: setup
	$(BIN)/python -m tests.chaos $(CHAOS)

# Whether that finds bugs that are put in for it.
planted: setup
	$(BIN)/python -m tests.chaos.planted

check: setup proto-check
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/mypy tests/unit/client/typed_use.py
	$(BIN)/lint-imports
	$(BIN)/buf lint
	$(BIN)/buf breaking --against proto/released.binpb

ci: check test

# The chart, the images and the manifests, without a cluster; KUBE_CRDS names a folder with the
# CustomResourceDefinitions of ray.io and monitoring.coreos.com.
deploy-check: setup
	$(BIN)/python -m deploy.check

manifests: setup
	$(BIN)/python -m deploy.check.manifests

format: setup
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

.venv-proto/.done: requirements/proto.txt
	$(PYTHON) -m venv .venv-proto
	$(PROTO_BIN)/pip install --quiet --requirement requirements/proto.txt
	touch $@

define generate
	PATH="$(CURDIR)/$(PROTO_BIN):$$PATH" $(PROTO_BIN)/python -m grpc_tools.protoc --proto_path=proto \
	  --python_out=$(1) --grpc_python_out=$(1) --mypy_out=quiet:$(1) --mypy_grpc_out=quiet:$(1) $(PROTOS)
endef

proto: .venv-proto/.done
	$(call generate,client)

# What the next version must not break; a release runs it.
proto-release: setup
	$(BIN)/buf build --exclude-source-info --output proto/released.binpb

proto-check: .venv-proto/.done
	rm -rf build/proto && mkdir -p build/proto
	$(call generate,build/proto)
	diff --recursive --exclude=__init__.py --exclude=__pycache__ build/proto/svdfarm/v1 client/svdfarm/v1 \
	  || { echo "client/svdfarm/v1 is not what proto/ generates: run make proto"; exit 1; }

# The newest versions that pyproject.toml allows; torch stays the version of requirements/*.in.
lock: setup .venv-proto/.done
	$(BIN)/python requirements/lock.py
