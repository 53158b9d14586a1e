# median_spark: `make` alone lists what there is.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DEMO := demo
STORES ?= gs or abfs

.DEFAULT_GOAL := help
# Packages are installed without bytecode, which Python writes when a module is first imported: where it may not, every
# start compiles all modules anew, and a run of the demo corpus takes 14 seconds instead of 7.
unexport PYTHONDONTWRITEBYTECODE
.PHONY: help setup java run test test-slow test-all test-seeds fuzz test-cluster test-standalone test-connect test-s3 test-stores test-yarn test-lakes test-notebook test-matrix \
  package docs lint bench bench-full clean

help:  ## List the targets
	@grep -E '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 17

setup: $(VENV)/.classes  ## Install median_spark and its tools into .venv, and let Spark start fast

$(VENV)/.ready: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "error: Python 3.11 or newer is needed, this is %s: name another with make PYTHON=python3.11" % sys.version.split()[0])'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --no-compile --constraint constraints.txt --editable '.[spark,dev,docs]'
	@touch $@

$(VENV)/.classes: $(VENV)/.ready
	@$(BIN)/python -m median_spark.spark.make_class_archive || true
	@touch $@

java:
	@$(PYTHON) median_spark/spark/engine/java.py

run: java setup  ## Write a demo corpus to demo/corpus and compute its medians into demo/result
	@test -d $(DEMO)/corpus/database2 || { rm -rf $(DEMO)/corpus; $(BIN)/median-spark demo --quiet --out $(DEMO)/corpus; }
	$(BIN)/median-spark run $(DEMO)/corpus --gene-table $(DEMO)/corpus/gene_info_table.csv --out $(DEMO)/result

# Files are begun in the order of tests/conftest.py: those that take longest first.
test: java setup  ## Run the tests that are quick and need no cluster
	$(BIN)/python -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder -m "not slow and not cluster"

test-slow: java setup  ## Run the slow tests: kills, compiled code, real data, and all variants and examples of what make test tries once
	HYPOTHESIS_PROFILE=all $(BIN)/python -m pytest --numprocesses 2 --dist worksteal -m "slow and not cluster" --durations 12

test-all: java setup  ## Run both in one go, which starts Spark and tries properties once
	HYPOTHESIS_PROFILE=all $(BIN)/python -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder -m "not cluster" --durations 12

test-seeds: setup  ## Run tests without Spark on five new seeds, in random order, elsewhere, on an older processor (20 minutes)
	$(BIN)/python tests/seeds.py $(SEEDS)

fuzz: setup  ## Read damaged matrices and hostile pickles for ten minutes (FUZZ='--seed N --minutes 10', '--seed N --case K')
	$(BIN)/python tests/fuzz/fuzz.py $(FUZZ)

test-cluster: java setup  ## Run the tests on real engines, test-standalone to test-notebook, two at a time
	$(BIN)/python -m pytest tests/cluster -m "cluster and not (matrix or gs or abfs or yarn or lake)" --numprocesses 2 --dist loadfile --durations 12

test-standalone: java setup  ## A Spark standalone cluster, spark-submit, killed workers
	$(BIN)/python -m pytest tests/cluster -m standalone

test-connect: java setup  ## A Spark Connect server
	$(BIN)/python -m pytest tests/cluster -m connect

test-s3: java setup  ## Object storage
	$(BIN)/python -m pytest tests/cluster -m s3

test-stores: java setup  ## Servers like Google's and Azure's object stores, from pip and npm (STORES=gs for one)
	$(BIN)/python -m pytest tests/cluster -m "$(STORES)" --durations 5

test-yarn: java setup  ## YARN and HDFS, with Hadoop's own daemons from Maven
	$(BIN)/python -m pytest tests/cluster -m yarn --durations 5

test-lakes: java setup  ## Tables of Delta, Iceberg and Unity Catalog, from Maven, with a Spark that all are made for
	PYTHONPATH=$$($(BIN)/python tests/support/emulators.py) $(BIN)/python -m pytest tests/cluster -m lake --durations 5

test-notebook: java setup  ## The Databricks notebook, cell by cell
	$(BIN)/python -m pytest tests/cluster -m notebook

test-matrix: java setup  ## Other versions of Spark and numpy, each in an environment of its own in .venvs (slow; LEGS='spark-3.5' for one)
	$(BIN)/python tests/matrix/matrix.py --environments .venvs $(LEGS)

package: $(VENV)/.ready  ## Build wheel and source distribution into dist/, and an archive of all that a bare Spark worker lacks
	$(BIN)/python conf/package/pack.py
	$(BIN)/twine check --strict dist/*.whl dist/median_spark-$$($(BIN)/python -c 'import median_spark; print(median_spark.__version__)').tar.gz

docs: $(VENV)/.ready  ## Build the documentation site into site/
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

lint: docs  ## Check style (ruff), types (mypy), the layers of imports (import-linter) and the site (mkdocs)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: java setup  ## Measure median_spark beside its peers, at small sizes (8 minutes)
	$(BIN)/python benchmarks/bench.py $(BENCH)

bench-full: java setup  ## The same at full size, and write docs/performance.md (hours; BENCH='--scratch DIR' for 20 GB elsewhere)
	$(BIN)/python benchmarks/bench.py --sizes full --write $(BENCH)

clean:  ## Remove what run, test and setup have made
	rm -rf $(VENV) .venvs $(DEMO) site .pytest_cache .pytest_seeds .mypy_cache .ruff_cache .import_linter_cache .hypothesis dist spark-warehouse
