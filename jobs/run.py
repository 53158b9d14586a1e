"""spark-submit entry point of `median-spark run`; takes the same arguments: spark-submit jobs/run.py --help."""

import sys

from median_spark.cli import main

sys.exit(main(["run", *sys.argv[1:]]))
