# PYTHON_ARGCOMPLETE_OK: argcomplete looks for this in the module that the console script imports.
"""The command line: arguments, one library call, an exit status."""

from median_spark.display import fill_standard_descriptors

fill_standard_descriptors()  # before the imports below open files of their own

from median_spark.cli.main import main  # noqa: E402
from median_spark.cli.task import task  # noqa: E402

__all__ = ["main", "task"]
