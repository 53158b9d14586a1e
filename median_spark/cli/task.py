"""`median-spark` as a platform calls it that runs a function of an installed package, as Databricks' wheel tasks do.

Such a platform takes a run for good unless the function raises; it knows no exit status.
"""

from median_spark.cli.main import DONE, main
from median_spark.errors import MedianSparkError


def task() -> None:
    """Run the command that this process's arguments name, as `median_spark.cli.main` does.

    Raises
    ------
    MedianSparkError
        If the exit status is another than 0: also where some sources failed and were left out.
    """
    status = main()
    if status != DONE:
        message = f"median-spark ended with exit status {status}: what went wrong stands in the output above"
        raise MedianSparkError(message)
