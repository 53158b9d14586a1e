"""The package's front: what importing it costs a worker, and that every public name is there."""

import subprocess
import sys

import pytest

import median_spark

HEAVY = ("pyspark", "loompy", "numba")


def modules_after(statement):
    """Return the names of all modules that a fresh interpreter has loaded after a statement."""
    code = f"import sys\n{statement}\nprint('\\n'.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


@pytest.mark.parametrize(
    "module",
    [
        "median_spark",
        "median_spark.digests",
        "median_spark.expression",
        "median_spark.matrices",
        "median_spark.exact",
        "median_spark.results",
        "median_spark.inspection",
    ],
)
def test_importing_does_not_load_what_a_worker_does_not_need(module):
    loaded = modules_after(f"import {module}")
    assert module in loaded
    assert loaded.isdisjoint(HEAVY)


def test_names_that_need_no_spark_do_not_load_it():
    loaded = modules_after("from median_spark import AttributeNames, MedianSparkError, ReadOptions, read_gene_table")
    assert loaded.isdisjoint(HEAVY)


def test_a_driver_makes_the_median_table_without_what_workers_need():
    loaded = modules_after(
        "import numpy as np\n"
        "from median_spark.digests import Digest\n"
        "from median_spark.results import GeneDigests, median_table\n"
        "one = np.ones(1)\n"
        "digests = {'A': Digest(1, 1.0, 1.0, one, one)}\n"
        "median_table(GeneDigests(('A',), digests, {'A': 1}, 200.0, {'A': (1.0, np.nan)}), None)"
    )
    assert loaded.isdisjoint(HEAVY)


def test_what_is_loaded_is_seen():
    assert set(HEAVY) <= modules_after("from median_spark import run, write_demo")


@pytest.mark.parametrize("name", median_spark.__all__)
def test_every_public_name_resolves(name):
    assert getattr(median_spark, name) is not None


def test_public_names_are_not_taken_by_submodules():
    for name in set(median_spark.__all__) - {"__version__"}:
        assert callable(getattr(median_spark, name))


def test_star_import_brings_all_of_them():
    names: dict[str, object] = {}
    exec("from median_spark import *", names)
    assert set(median_spark.__all__) <= names.keys()


def test_unknown_name_raises_attribute_error():
    with pytest.raises(AttributeError, match="module 'median_spark' has no attribute 'average'"):
        _ = median_spark.average
