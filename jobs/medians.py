"""spark-submit entry point of `median-spark medians`; takes the same arguments: spark-submit jobs/medians.py --help."""

import sys

from median_spark.cli import main

sys.exit(main(["medians", *sys.argv[1:]]))
