# The short verbs of this project; CI runs the same ones.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PROTO_BIN := .venv-proto/bin
PROTOS := $(wildcard proto/svdfarm/v1/*.proto)

# Only files whose hashes a lock has; a lock is whole, so pip looks for nothing else.
LOCKED := install --quiet --require-hashes --no-deps

.PHONY: setup demo nano nano-eval pictures bench test test-browser chaos chaos-quick planted fuzz fuzz-quick hostile docs check ci deploy-check manifests proto proto-check proto-release lock upgrade audit sbom licences format

setup: $(VENV)/.done

# TORCH is cpu or cuda: the build of torch that pip finds here, unless you say.
$(VENV)/.done: requirements/dev.txt requirements/torch-cpu.txt requirements/torch-cuda.txt pyproject.toml
	$(PYTHON) -m venv $(VENV)
	torch=$(or $(TORCH),$$($(BIN)/python requirements/torch_build.py)) && \
	  $(BIN)/pip $(LOCKED) --requirement requirements/torch-$$torch.txt --requirement requirements/dev.txt
	$(BIN)/pip install --quiet --no-deps --no-build-isolation --editable .
	touch $@

demo: export MODEL := $(or $(MODEL),nano)
demo: setup
	$(BIN)/python examples/demo.py

# Trains the small model anew: hours on a CPU, minutes on a GPU. A stopped run goes on.
nano: setup
	$(BIN)/python -m farm.nano.train --work build/nano

nano-eval: setup
	$(BIN)/pip $(LOCKED) --requirement requirements/nano.txt
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

# Breaks a farm in every way there is, for hours; a part that has been run is not run again. One way
# alone: python -m tests.chaos, tests.chaos.power or tests.chaos.nodes, with --help.
chaos: setup
	$(BIN)/python -m tests.chaos.suite full --table docs/CHAOS.md

# The same in minutes.
chaos-quick: setup
	$(BIN)/python -m tests.chaos.suite quick --again

# Whether those find bugs that are put in for it.
planted: setup
	$(BIN)/python -m tests.chaos.planted --table docs/PLANTED.md

# Hostile inputs on the real thing, and the table of docs/HOSTILE_INPUTS.md.
hostile: setup
	$(BIN)/python -m tests.hostile --out docs/HOSTILE_INPUTS.md

# Images, jobs files and names of videos, fuzzed by coverage for so long each.
fuzz-quick: FUZZ_S := 45
fuzz: FUZZ_S := 600
fuzz fuzz-quick: .venv-fuzz/.done
	for target in image jobs_file template; do \
	  PYTHONPATH=.:client .venv-fuzz/bin/python -m tests.fuzz $$target $(FUZZ_S) || exit 1; \
	done

# Without the fuzzer where it has no wheel for this Python: then it says so, and is left out.
.venv-fuzz/.done: requirements/fuzz.txt
	$(PYTHON) -m venv .venv-fuzz
	.venv-fuzz/bin/pip $(LOCKED) --requirement requirements/fuzz.txt || \
	  .venv-fuzz/bin/pip $(LOCKED) --requirement requirements/gateway.txt
	touch $@

# The site, from docs/, code and proto/, in build/docs: open index.html in a browser.
docs: .venv-docs/.done
	PYTHONPATH=.:client .venv-docs/bin/python -m website

.venv-docs/.done: requirements/docs.txt
	$(PYTHON) -m venv .venv-docs
	.venv-docs/bin/pip $(LOCKED) --requirement requirements/docs.txt
	touch $@

check: setup proto-check
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/mypy tests/unit/client/typed_use.py
	$(BIN)/lint-imports
	$(BIN)/buf lint
	$(BIN)/buf breaking --against proto/released.binpb

ci: check test docs chaos-quick fuzz-quick

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
	$(PROTO_BIN)/pip $(LOCKED) --requirement requirements/proto.txt
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

# Locks what requirements/*.in and pyproject.toml ask for; `upgrade` takes the newest of it.
lock: setup
	$(BIN)/python requirements/lock.py

upgrade: setup
	$(BIN)/python requirements/lock.py --upgrade

.venv-audit/.done: requirements/audit.txt
	$(PYTHON) -m venv .venv-audit
	.venv-audit/bin/pip $(LOCKED) --requirement requirements/audit.txt
	touch $@

# Whether what is locked has known holes: asks a database on the network, and fails without.
audit: .venv-audit/.done
	for lock in server dev nano torch-cuda proto deploy docs; do \
	  echo "requirements/$$lock.txt"; \
	  .venv-audit/bin/pip-audit --progress-spinner off --strict --require-hashes --disable-pip \
	    $(addprefix --ignore-vuln ,$(AUDIT_EXCEPTIONS)) --requirement requirements/$$lock.txt || exit 1; \
	done

# What a worker is made of, as CycloneDX: dist/sbom.json.
sbom: .venv-audit/.done
	mkdir -p dist
	cat requirements/server.txt requirements/torch-cuda.txt > dist/worker.txt
	.venv-audit/bin/cyclonedx-py requirements --pyproject pyproject.toml --output-reproducible \
	  --output-format JSON --output-file dist/sbom.json dist/worker.txt

# Who owns what a farm is made of, and what they ask: docs/LICENCES.md.
licences: setup .venv-audit/.done
	$(BIN)/python requirements/licences.py .venv-audit/bin/pip-licenses > docs/LICENCES.md
