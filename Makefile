# `make run` sets up and does the main job; `make test` sets up and passes the tests;
# `make check` lints, checks types and that generated files are current. See CONTRIBUTING.md.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV ?= .venv
BIN = $(VENV)/bin

.PHONY: run test check generate site sanitize bench wheels clean

run: $(VENV)/package
	mkdir -p build/example
	$(BIN)/batchnorm explain torch mindspore
	$(BIN)/batchnorm translate "nn.BatchNorm2d(64, eps=0.001, momentum=0.01)" --from torch --to keras
	$(BIN)/batchnorm inspect examples/resnet_tiny.pth
	$(BIN)/batchnorm convert examples/resnet_tiny.pth build/example/resnet_tiny.ckpt --force
	$(BIN)/batchnorm convert examples/resnet_tiny.pth build/example/resnet_tiny.weights.h5 --assume-order --force
	$(BIN)/batchnorm compare examples/resnet_tiny.pth build/example/resnet_tiny.ckpt
	$(BIN)/batchnorm compare examples/resnet_tiny.pth build/example/resnet_tiny.weights.h5
	$(BIN)/batchnorm diagnose examples/port/source.bnrec examples/port/port.bnrec || test $$? = 1

test: $(VENV)/test
	$(BIN)/pytest -n 2 --dist loadfile

check: $(VENV)/lint
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	BATCHNORM_KERNEL=reference $(BIN)/python -m batchnorm.explain.build --check docs/differences docs/spec docs/layers.md docs/layers.zh.md
	$(BIN)/python -m batchnorm.lint.build --check docs/rules
	$(BIN)/python docs/site/facts.py --check
	BATCHNORM_KERNEL=reference $(BIN)/python tests/site/vectors.py --check

generate: $(VENV)/package
	BATCHNORM_KERNEL=reference $(BIN)/python -m batchnorm.explain.build docs/differences docs/spec docs/layers.md docs/layers.zh.md
	$(BIN)/python -m batchnorm.lint.build docs/rules
	$(BIN)/python docs/site/facts.py
	BATCHNORM_KERNEL=reference $(BIN)/python tests/site/vectors.py

# The documentation as a site that works from a file: build/site/index.html.
site: $(VENV)/site
	$(BIN)/python docs/site/build.py

# Without the package, whose ordinary kernel would be found before the sanitizer's.
sanitize: $(VENV)-sanitize/ready
	$(VENV)-sanitize/bin/python -m tests.sanitize --report docs/sanitizers.md

$(VENV)-sanitize/ready: pyproject.toml
	$(PYTHON) -m venv $(VENV)-sanitize
	$(VENV)-sanitize/bin/pip install --quiet numpy ml_dtypes click rich cmake ninja nanobind \
		pytest==9.2.0 hypothesis==6.170.15
	touch $@

bench: $(VENV)/test
	$(BIN)/pip install --quiet --editable ".[bench]"
	$(BIN)/python -m benchmarks --out benchmarks/results

# Linux wheels for every CPython at hand, for glibc 2.28, each tested in a fresh environment.
wheels: $(VENV)/package
	$(BIN)/pip install --quiet ziglang==0.17.1 wheel auditwheel
	$(BIN)/python packaging/wheels.py -o dist

clean:
	rm -rf $(VENV) $(VENV)-sanitize

$(VENV)/package: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --editable .
	touch $@

$(VENV)/test: $(VENV)/package
	$(BIN)/pip install --quiet --editable ".[frameworks,test,lint]"
	touch $@ $(VENV)/lint

# The extra's packages alone: to install the package once more would compile it once more.
EXTRA = from importlib.metadata import requires; \
	print(*(r.partition(";")[0] for r in requires("batchnorm") if "site" in r.partition(";")[2]))
$(VENV)/site: $(VENV)/package
	$(BIN)/pip install --quiet $$($(BIN)/python -c '$(EXTRA)')
	touch $@

$(VENV)/lint: $(VENV)/package
	$(BIN)/pip install --quiet --editable ".[lint]"
	touch $@
