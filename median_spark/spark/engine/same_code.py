"""Functions for Spark's workers, which refuse to run with another median_spark than the driver's.

A worker may have an older copy: of a packed environment that was replaced under its name, or one that was installed on
its machine. Two versions would mix in one result, or fail with an error that does not mention them.
"""

import gc
import pickle
import sys
from collections.abc import Callable, Iterator

import pyarrow as pa
from pyspark import cloudpickle

from median_spark.versions import code_version

Work = Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]


def for_workers(work: Work) -> Work:
    """Return a function for ``mapInArrow`` that calls another one, if the worker has this median_spark.

    Raises
    ------
    RuntimeError
        On the worker, if it has another one.
    """
    # A worker unpickles the work only after the check: an older one may lack what it needs. So nothing in the function
    # below may refer to this package, but for what it imports.
    expected, pickled = code_version(), cloudpickle.dumps(work)

    def on_worker(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        from median_spark import versions

        fingerprint = getattr(versions, "code_version", None)  # older versions have none
        found = fingerprint() if fingerprint else versions.__version__
        if found != expected:
            message = f"different versions of median_spark: the driver runs {expected} and a worker {found}"
            raise RuntimeError(message)
        yield from pickle.loads(pickled)(batches)
        from median_spark.spark.engine.same_code import spare_modules

        spare_modules()

    return on_worker


def check_code(expected: str) -> None:
    """Check that this process, a worker, has the median_spark whose `code_version` is `expected`; else RuntimeError."""
    found = code_version()
    if found != expected:
        message = f"different versions of median_spark: the driver runs {expected} and a worker {found}"
        raise RuntimeError(message)


_spared = 0
"""Number of modules that the garbage collector of this process leaves alone."""


def spare_modules() -> None:
    """Let the garbage collector leave alone what was imported; on a worker, after each task.

    pyspark collects garbage between two tasks of a worker, and looking through all that numpy, pandas, pyarrow, numba
    and h5py have made takes 35 to 60 ms, more than a small task.
    """
    global _spared
    if len(sys.modules) > _spared:
        gc.collect()
        gc.freeze()
        _spared = len(sys.modules)
