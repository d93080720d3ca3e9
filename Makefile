# One set of verbs. CI, the hooks and the documentation call these and restate none of their commands.
#
# Everything that a verb needs is set up by the verb: a private environment in .venv, the pinned requirements
# (ci/requirements/*.txt, checked by hash), editable installs, and the Rust engine where cargo is there. Setting up
# speaks on stderr only, so that the stdout of `make -s VERB` belongs to the verb.

.DEFAULT_GOAL := help
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules

# The environment is the project's own: nothing from an activated one or from PYTHONPATH leaks in.
unexport PYTHONPATH PYTHONHOME VIRTUAL_ENV CONDA_PREFIX

VENV := .venv
PY := $(VENV)/bin/python
# The interpreter that makes the environment: PYTHON=... or the first that is new enough (ci/find-python).
PYTHON ?=
# When make began: some verbs have to end within minutes, setting up included.
STARTED := $(shell date +%s)
# Extra arguments for the tool behind a verb, e.g. make test ARGS="-k edge -x"
ARGS ?=

RUST_SOURCES := $(shell find fast/src -name '*.rs' 2>/dev/null) fast/Cargo.toml fast/pyproject.toml fast/meridian_fast.pyi

# ---------------------------------------------------------------------------------------------------------- setup
# Stamps in .venv say what is installed; each depends on its pins, so a second run does nothing and a changed pin
# installs again. Making the environment anew removes the stamps in it, hence .ready-base beside each.

# An environment whose interpreter is gone (an upgrade, a copied folder) is no environment.
ifneq ($(wildcard $(VENV)/.ready-base),)
  ifneq ($(shell $(PY) -c 'print(1)' 2>/dev/null),1)
    $(shell rm -f $(VENV)/.ready-*)
  endif
endif

$(VENV)/.ready-base: ci/requirements/bootstrap.txt
	@python="$(PYTHON)"; python="$${python:-$$(ci/find-python)}"; \
	  echo "setup: making $(VENV) with $$("$$python" --version 2>&1)" >&2; \
	  "$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Meridian needs Python 3.11 or newer; %s is %s" % (sys.executable, sys.version.split()[0]))'; \
	  "$$python" -m venv --clear $(VENV); \
	  $(PY) -m pip install --quiet --disable-pip-version-check --require-hashes --requirement $< >&2
	@touch $@

$(VENV)/.ready-demo: ci/requirements/demo.txt pyproject.toml $(VENV)/.ready-base
	@ci/install demo
	@ci/install-editable .
	@touch $@

$(VENV)/.ready-test: ci/requirements/test.txt conformance/pyproject.toml $(VENV)/.ready-base | $(VENV)/.ready-demo
	@ci/install test
	@ci/install-editable conformance
	@touch $@

$(VENV)/.ready-lint: ci/requirements/lint.txt $(VENV)/.ready-base | $(VENV)/.ready-test
	@ci/install lint
	@touch $@

$(VENV)/.ready-crosshair: ci/requirements/crosshair.txt $(VENV)/.ready-base | $(VENV)/.ready-test
	@ci/install crosshair
	@touch $@

$(VENV)/.ready-mutation: ci/requirements/mutation.txt $(VENV)/.ready-base | $(VENV)/.ready-test
	@ci/install mutation
	@touch $@

$(VENV)/.ready-docs: ci/requirements/docs.txt $(VENV)/.ready-base | $(VENV)/.ready-demo
	@ci/install docs
	@touch $@

$(VENV)/.ready-build: ci/requirements/build.txt $(VENV)/.ready-base
	@ci/install build
	@touch $@

$(VENV)/.ready-bench: ci/requirements/bench.txt $(VENV)/.ready-base | $(VENV)/.ready-test
	@ci/install bench
	@touch $@

$(VENV)/.ready-profile: ci/requirements/profile.txt $(VENV)/.ready-base | $(VENV)/.ready-demo
	@ci/install profile
	@touch $@

# The Rust engine with the names of its functions, for profilers.
$(VENV)/.ready-symbols: $(RUST_SOURCES) $(VENV)/.ready-base | $(VENV)/.ready-fast
	@code=0; ci/rust symbols >&2 || code=$$?; \
	  if [[ $$code == 0 ]]; then touch $@; elif [[ $$code != 77 ]]; then exit $$code; fi

# Without cargo the script says that it skips, and there is no stamp: the next run asks again.
$(VENV)/.ready-fast: $(RUST_SOURCES) $(VENV)/.ready-base | $(VENV)/.ready-test
	@code=0; ci/rust install >&2 || code=$$?; \
	  if [[ $$code == 0 ]]; then touch $@; elif [[ $$code != 77 ]]; then exit $$code; fi

# ---------------------------------------------------------------------------------------------------------- verbs
.PHONY: help setup demo test coverage lint fmt types conformance formal crosshair mutation stress bench budget compare asv bench-v1 bench-peers bench-slo profile docs wheels engines check clean

help: ## this list
	@echo "Meridian: make VERB"
	@echo
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  %-13s%s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))
	@echo
	@echo "Each verb sets up what it needs. ARGS=... goes to the tool behind test, coverage, conformance, formal, crosshair,"
	@echo "mutation, stress, bench, budget, compare, asv, bench-v1, bench-peers, bench-slo, profile; PYTHON=... names the interpreter to make $(VENV) with."

setup: $(VENV)/.ready-demo $(VENV)/.ready-test $(VENV)/.ready-lint $(VENV)/.ready-docs $(VENV)/.ready-build $(VENV)/.ready-bench $(VENV)/.ready-profile $(VENV)/.ready-fast ## everything that any verb needs, at once

demo: $(VENV)/.ready-demo ## a real graph on a web-server log (LOG=FILE JSON=1 CAPACITY=N DB=FILE)
	@$(PY) docs/examples/access_log/demo.py $(if $(LOG),--log "$(LOG)") $(if $(JSON),--json) $(if $(CAPACITY),--capacity "$(CAPACITY)") $(if $(DB),--db "$(DB)")

test: $(VENV)/.ready-test $(VENV)/.ready-fast ## the unit tests, on Python and where cargo is there on Rust
	@ci/rust test
	@$(PY) -m pytest $(ARGS)

coverage: $(VENV)/.ready-test $(VENV)/.ready-fast ## the tests of the package, measured: core, engine, runtime at 95 % of branches
	@mkdir -p build/coverage
	@$(PY) -m coverage run -m pytest meridian/_tests $(ARGS)
	@$(PY) -m coverage json --quiet
	@$(PY) ci/check_coverage.py

lint: $(VENV)/.ready-lint ## style: ruff, spelling, change fragments, clippy and rustfmt
	@$(PY) -m ruff check .
	@$(PY) -m ruff format --check .
	@$(VENV)/bin/typos
	@$(PY) ci/check_fragments.py
	@ci/rust lint

fmt: $(VENV)/.ready-lint ## formats, mends what ruff can, regenerates docs/requirements.md, the index of v1, the rules (kit, lint), the schemas, the figures
	@$(PY) -m ruff check --fix --exit-zero --quiet .
	@$(PY) -m ruff format .
	@$(PY) ci/requirements_table.py
	@$(PY) ci/v1_index.py
	@$(PY) ci/rules_page.py
	@$(PY) ci/schemas.py
	@$(PY) ci/lint_page.py
	@$(PY) ci/inspector_picture.py
	@$(PY) ci/figures.py

types: $(VENV)/.ready-lint $(VENV)/.ready-fast ## mypy strict, pyright strict, and the Rust stub against the built module
	@$(PY) -m mypy
	@$(VENV)/bin/basedpyright
	@if [[ -e $(VENV)/.ready-fast ]]; then $(PY) -m mypy.stubtest meridian_fast --allowlist fast/stubtest-allowlist.txt; \
	  else echo "types: meridian_fast is not built, so its stub was not checked" >&2; fi

conformance: $(VENV)/.ready-test ## is it right: the kit on Meridian's own edge, ready queue, engine and nodes, then the kit on itself (about two minutes)
	@$(PY) -m meridian_conformance.cli run python --profile all --out build/conformance/edge $(ARGS)
	@$(PY) -m meridian_conformance.cli run python --target ready --profile all --out build/conformance/ready $(ARGS)
	@$(PY) -m meridian_conformance.cli run python --target engine --profile all --out build/conformance/engine $(ARGS)
	@$(PY) -m meridian_conformance.cli run python --target node --profile all --out build/conformance/node $(ARGS)
	@$(PY) -m meridian_conformance.cli selftest

formal: $(VENV)/.ready-base ## the formal models, checked by Spin: what holds, twins that must fail, witnesses (JSON=1)
	@$(PY) conformance/formal/check.py $(if $(JSON),--json) $(ARGS)

crosshair: $(VENV)/.ready-crosshair ## CrossHair on the policies' decision and on the reference under the kit, with twins that it must catch (minutes)
	@$(PY) conformance/symbolic/look.py $(ARGS)

mutation: $(VENV)/.ready-mutation ## do the tests notice: mutants of the core, against a reviewed list of survivors (an hour; ARGS="--module ready")
	@$(PY) ci/mutation.py $(ARGS)

stress: $(VENV)/.ready-bench $(VENV)/.ready-fast ## does it survive: seeded scenarios on both engines, and a report; five minutes (ARGS="--short", ARGS="overload --seed 7")
	@$(PY) -m stress $(ARGS)

bench: $(VENV)/.ready-bench $(VENV)/.ready-fast ## is it fast: the gates as a table of ratios, within two minutes (JSON=1, ARGS="--full" for every workload, FLOOR=FOLDER of a C probe)
	@$(if $(FLOOR),FLOOR="$(abspath $(FLOOR))") $(PY) -m asv_bench.gates $(if $(JSON),--json) $(ARGS)

budget: $(VENV)/.ready-bench $(VENV)/.ready-fast ## what metrics cost, in instructions and in processor time, against what they may; minutes; needs valgrind (JSON=1)
	@$(PY) -m asv_bench.overhead $(if $(JSON),--json) $(ARGS)

compare: $(VENV)/.ready-bench $(VENV)/.ready-fast ## is this checkout slower than BASE=main: instructions and processor time of single operations (JSON=1, ARGS="edge chain --lane I")
	@$(PY) -m asv_bench.compare $(or $(BASE),main) $(if $(JSON),--json) $(ARGS)

asv: $(VENV)/.ready-bench $(VENV)/.ready-build $(VENV)/.ready-fast ## does every benchmark run; ARGS="run", "compare main", "publish", "night": their history over commits
	@$(PY) -m asv_bench.history $(or $(ARGS),check)

bench-v1: $(VENV)/.ready-bench ## beside meridian-runtime 1.2.0, installed for it under build/ (JSON=1, ARGS="--only chain")
	@$(PY) -m asv_bench.v1_side_by_side $(if $(JSON),--json) $(ARGS)

bench-peers: $(VENV)/.ready-bench $(VENV)/.ready-fast ## beside asyncio.Queue, anyio, 1.2.0, reactivex, streamz, aiostream, bytewax: table and plot in build/peers, within ten minutes (JSON=1)
	@$(PY) -m asv_bench.peers $(if $(JSON),--json) $(ARGS)

bench-slo: $(VENV)/.ready-bench $(VENV)/.ready-fast ## the service levels: latencies of enqueue, dequeue and node execution, and throughput, on both engines; a minute (JSON=1)
	@$(PY) -m asv_bench.slo $(if $(JSON),--json) $(ARGS)

profile: $(VENV)/.ready-profile $(VENV)/.ready-fast $(VENV)/.ready-symbols ## where the time goes: flame graphs of stress scenarios under py-spy, against the last run; five minutes (ARGS="churn --gil")
	@left=$$((285 + $(STARTED) - $$(date +%s))); \
	  $(PY) -m profiles record --native --limit $$((left > 120 ? left : 120)) $(ARGS)

docs: $(VENV)/.ready-docs ## the pages, built strictly into build/docs
	@$(VENV)/bin/mkdocs build --strict --quiet
	@echo "docs: build/docs/index.html" >&2

wheels: $(VENV)/.ready-build $(VENV)/.ready-test ## the distributions into build/wheels, then tried in an empty environment
	@ci/wheels

engines: $(VENV)/.ready-build $(VENV)/.ready-test ## does the right engine run: with the extension, without it, with broken ones, on newer Pythons
	@ci/engines

check: ## everything that CI runs, lane by lane
	@ci/lanes

clean: ## removes .venv, build results and caches
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis fast/target
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
