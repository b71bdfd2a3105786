# The ways into aiotls. Each target sets up what it needs; `make help` lists them.

PYTHON ?= python3
VENV ?= .venv
# More words for the tool that a target runs: make test ARGS="tests/test_server.py -x"
ARGS ?=

PY := $(VENV)/bin/python
export PYTHON
# rustup's folder, which a shell older than its installation does not know
export PATH := $(PATH):$(HOME)/.cargo/bin

NATIVE := pyproject.toml native/Cargo.toml native/Cargo.lock $(wildcard native/*.rs native/src/*.rs native/src/*/*.rs build_backend/*.py)
SOURCES := $(shell find src -name '*.py' -o -name '*.pyi' -o -name 'py.typed')
# One stamp for each kind of build: another OpenSSL or another profile is another build.
INSTALLED := $(VENV)/installed-$(or $(AIOTLS_OPENSSL),default)-$(or $(AIOTLS_PROFILE),release)
# Many tests wait for other programs, so there may be more workers than processors.
WORKERS ?= $(shell expr 2 '*' $$(getconf _NPROCESSORS_ONLN))
PYTEST := -m pytest -n $(WORKERS) --dist worksteal

.PHONY: help demo test test-system test-pythons behaviours lint types bench growth instructions threads wheel docs clean

help:
	@echo "make demo          a TLS server and real clients talk to each other, in this terminal"
	@echo "make test          the test suite (ARGS=... goes to pytest)"
	@echo "make test-system   the same, linked with the machine's own OpenSSL"
	@echo "make test-pythons  the wheel and the interop tests on every Python that is installed"
	@echo "make behaviours    what the library must show, with the tests that show it and their results"
	@echo "make lint          ruff, cargo fmt, clippy"
	@echo "make types         mypy --strict"
	@echo "make bench         handshakes, bytes and messages beside other programs, into docs/performance.md"
	@echo "make growth        what connections, messages and names cost as they become more, into docs/performance/"
	@echo "make instructions  instructions of a handshake, a MiB, a message, compared with those recorded (valgrind)"
	@echo "make threads       loops in several threads, into docs/performance/"
	@echo "make wheel         a self-contained wheel, in dist/"
	@echo "make docs          checks the generated pages, examples and links of the documentation"
	@echo "make clean         removes everything that was built here"

demo: $(INSTALLED) $(VENV)/peers
	@$(PY) -m examples.demo $(ARGS)

test: $(INSTALLED) $(VENV)/peers
	@$(PY) build_backend/aiotls_openssl.py cargo test --quiet --locked --manifest-path native/Cargo.toml
	$(PY) $(PYTEST) $(ARGS)

test-system: .venv-system/installed $(VENV)/peers
	.venv-system/bin/python $(PYTEST) -k "not uvloop" $(ARGS)

test-pythons: wheel $(VENV)/peers
	.ci/pythons $(ARGS)

behaviours: $(INSTALLED) $(VENV)/peers
	@$(PY) -m tests.behaviours -q -n auto --dist worksteal $(ARGS)

lint: $(INSTALLED)
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	cargo fmt --check --manifest-path native/Cargo.toml
	$(PY) build_backend/aiotls_openssl.py \
		cargo clippy --quiet --locked --all-targets --manifest-path native/Cargo.toml -- -D warnings
	@echo "aiotls: checking that the core compiles for free-threaded Python"
	@mkdir -p build
	@printf '%s\n' implementation=CPython version=3.14 build_flags=Py_GIL_DISABLED > build/free-threaded.txt
	PYO3_CONFIG_FILE=$(CURDIR)/build/free-threaded.txt CARGO_TARGET_DIR=build/rust/free-threaded \
		$(PY) build_backend/aiotls_openssl.py \
		cargo check --quiet --locked --no-default-features --manifest-path native/Cargo.toml

types: $(INSTALLED)
	$(VENV)/bin/mypy $(ARGS)

bench: $(INSTALLED) $(VENV)/peers
	-@$(PY) -m pip --disable-pip-version-check install -q -e '.[bench]'
	$(PY) -m benchmarks --output docs $(ARGS)

growth: $(INSTALLED)
	$(PY) -m benchmarks.growth $(ARGS)

instructions: $(INSTALLED)
	$(PY) -m benchmarks.instructions $(or $(ARGS),--check)

threads: $(INSTALLED)
	$(PY) -m benchmarks.threads $(or $(ARGS),--write)

wheel: export AIOTLS_OPENSSL := $(or $(AIOTLS_OPENSSL),vendored)
wheel: $(PY)
	@rm -rf dist && $(PY) build_backend/aiotls_openssl.py
	@$(PY) -m pip --disable-pip-version-check install -q auditwheel
	@echo "aiotls: building the wheel"
	MATURIN_PEP517_ARGS="--compatibility pypi" $(PY) -m pip --disable-pip-version-check wheel -q --no-deps -w dist .
	$(VENV)/bin/auditwheel show dist/*.whl

docs: $(INSTALLED)
	$(PY) -m docs.generate --check
	$(PY) docs/check.py

clean:
	rm -rf build dist .venv .venv-* native/target src/aiotls/*.so .mypy_cache .pytest_cache .ruff_cache .hypothesis
	@echo "aiotls: the OpenSSL that was built stays in $${XDG_CACHE_HOME:-$$HOME/.cache}/aiotls"

$(PY):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "aiotls: Python 3.11 or newer is needed; name one with: make PYTHON=/path/to/python3" >&2; exit 1; }
	@.ci/packages build
	@echo "aiotls: making the virtual environment $(VENV)"
	@$(PYTHON) -m venv $(VENV)

$(VENV)/peers: .ci/packages | $(PY)
	@.ci/packages peers
	@touch $@

# Editable: a change of a Python file needs no installation, a change of a Rust file does.
$(INSTALLED): $(NATIVE) | $(PY)
	@$(PY) build_backend/aiotls_openssl.py
	@echo "aiotls: compiling the core, and installing it with what the targets of this Makefile need"
	@$(PY) -m pip --disable-pip-version-check install -q -e '.[demo,test,dev]'
	@rm -f $(VENV)/installed-* && touch $@

.venv-system/installed: export AIOTLS_OPENSSL := system
.venv-system/installed: $(NATIVE) $(SOURCES)
	@.ci/packages build && .ci/packages system
	@echo "aiotls: installing aiotls linked with the machine's OpenSSL into .venv-system"
	@$(PYTHON) -m venv .venv-system
	@.venv-system/bin/python -m pip --disable-pip-version-check install -q '.[test]'
	@touch $@
