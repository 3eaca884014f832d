# `make help` lists the targets. Each sets up what is missing first; ENGINE=tf1|tf2 chooses the engine (default: the
# best this machine can have), EXTRAS=cluster,export,notebook adds packages (they stay until EXTRAS=none), SETUP_ARGS
# passes options to the set-up (--cpu, --gpu, --python 3.6, --force).
PYTHON ?= python3
SETUP_ARGS ?=
ARGS ?=
ifdef ENGINE
export ENGINE
endif
ifdef EXTRAS
export EXTRAS
endif

SETUP := $(PYTHON) tools/bootstrap.py $(SETUP_ARGS)
RUN := $(SETUP) --run
PYTEST := $(RUN) -m pytest
# Two processes share the tests, file by file.
SHARED := -n 2 --dist loadfile

# Reference data for parity tests and tests on photographs, where this checkout has it beside it.
ifneq ($(wildcard ../shared/golden),)
export REFERENCE_DIR ?= $(abspath ../shared)
endif
# Many small graphs gain nothing from many threads, and lose on a machine with many cores.
test test-both: export OMP_NUM_THREADS ?= 1
test test-both: export OPENBLAS_NUM_THREADS ?= 1
test-slow soak soak-cluster: export OMP_NUM_THREADS ?= 2
test-slow soak soak-cluster: export OPENBLAS_NUM_THREADS ?= 2
export MPLBACKEND ?= Agg
export TF_CPP_MIN_LOG_LEVEL ?= 2

.DEFAULT_GOAL := help
.PHONY: help setup demo paper-demo test test-both test-slow fuzz soak soak-cluster bench lint format clean clean-env

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## the Python environment, once: .venv leads to it
	@$(SETUP)

demo: ## the whole job on drawn faces: data set, training, pictures (ARGS=... reach the script)
	@$(RUN) tools/demo.py $(ARGS)

paper-demo: ## Table 4 of the StyleGAN paper in small: six networks on drawn faces, 22 minutes on two cores
	@$(RUN) -m experiment.studies.paper_demo $(ARGS)

test: ## the tests that take minutes in all (ARGS="-k name" and the like reach pytest)
	@$(PYTEST) $(SHARED) -m "not slow and not soak" $(ARGS)

test-both: ## the short selection that also runs on the second engine and the oldest Python
	@$(PYTEST) $(SHARED) -m "both and not slow and not soak" $(ARGS)

test-slow: ## the slow tests only
	@$(PYTEST) -m "slow and not soak" $(ARGS)

fuzz: ## damaged files for the readers of files, for a minute (ARGS="--seconds 600 'arrays .npz'")
	@$(RUN) tests/fuzz.py $(ARGS)

soak: ## long runs on real input
	@$(PYTEST) -m soak $(ARGS)

soak-cluster: ## faults of clusters, then 200,000 drawn faces through all stages on one (EXTRAS=cluster; ARGS="--images 5000")
	@$(PYTEST) -m slow tests/test_cluster_faults.py tests/test_addresses.py
	@$(RUN) tools/soak_cluster.py $(ARGS)

bench: ## measure speed and memory on both engines; writes results/benchmarks.md
	@$(RUN) benchmarks/run.py $(ARGS)

lint: ## the linter
	@$(RUN) -m ruff check .

format: ## sort imports and repair what the linter can repair
	@$(RUN) -m ruff check --fix .

clean: ## remove what tests and tools leave behind (not data sets, results or environments)
	find . -name __pycache__ -type d -not -path './.env-cache/*' -prune -exec rm -rf {} +
	rm -rf .pytest_cache .ruff_cache .hypothesis

clean-env: ## remove the environments
	rm -rf .venv .venv-tf1 .venv-tf2 .env-cache
