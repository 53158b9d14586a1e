"""The command line: arguments, one library call, an exit status."""

from median_spark.cli.main import main
from median_spark.cli.task import task

__all__ = ["main", "task"]
