"""The command line: arguments, one library call, an exit status."""

from median_spark.cli.main import main

__all__ = ["main"]
