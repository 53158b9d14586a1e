"""`median-spark` as a platform calls it that runs a function of an installed package, as Databricks' wheel tasks do.

Such a platform takes a run for good unless the function raises; it knows no exit status.
"""

from median_spark.cli.main import DONE, main
from median_spark.errors import MedianSparkError


def task() -> None:
    """Run the command of this process's arguments; raise an error if its exit status is not 0."""
    status = main()
    if status != DONE:
        message = f"median-spark ended with exit status {status}: see the output above"
        raise MedianSparkError(message)
